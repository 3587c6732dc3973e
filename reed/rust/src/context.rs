//! What a handler is given: the plugin's place in the world, the core's commands, and the other plugins.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::commands::{RegistryCommands, SchemaCommands, SearchCommands, SnippetCommands};
use crate::connection::Connection;
use crate::error::Error;
use crate::log;
use crate::shared::Shared;
use crate::strict_json;
use crate::wire::codes::{Command, Signal};

/// How long a command to the core may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// What a handler works with.
pub struct Context<'a> {
    pub(crate) shared: &'a Shared<'a>,
    pub(crate) connection: &'a RefCell<Connection>,
}

impl Context<'_> {
    /// The plugin's name.
    pub fn name(&self) -> &str {
        &self.shared.environment.name
    }

    /// Its settings: those of plugin.yaml, with those of reed.yaml over them.
    pub fn settings(&self) -> Arc<Value> {
        self.shared.registration().settings
    }

    /// What its row lets it do.
    pub fn permissions(&self) -> Arc<[String]> {
        self.shared.registration().permissions
    }

    /// Its own folder, to read.
    pub fn plugin_dir(&self) -> &Path {
        &self.shared.environment.plugin_dir
    }

    /// A folder to write in; only with the permission file_write.
    pub fn data_dir(&self) -> Option<&Path> {
        self.shared.environment.data_dir.as_deref()
    }

    /// Writes a line to the core's log.
    pub fn log(&self, line: &str) {
        log::line(line);
    }

    /// Commands on snippets.
    pub fn snippet(&self) -> SnippetCommands<'_> {
        SnippetCommands(self)
    }

    /// Commands on bonds.
    pub fn schema(&self) -> SchemaCommands<'_> {
        SchemaCommands(self)
    }

    /// Commands on types.
    pub fn registry(&self) -> RegistryCommands<'_> {
        RegistryCommands(self)
    }

    /// Commands on the search index.
    pub fn search(&self) -> SearchCommands<'_> {
        SearchCommands(self)
    }

    /// Sends a message to another plugin, and does not wait for an answer. When its pipe is full the message is queued;
    /// when the queue is full as well, that is the error [`Error::QueueFull`]. Gives the message's timestamp.
    pub fn send_message(&self, target: &str, message_type: u8, payload: &Value) -> Result<u64, Error> {
        self.shared.figures.message_sent();
        self.shared.peers.send(target, message_type, &strict_json::text(payload))
    }

    /// Sends a message to another plugin and waits for its answer: null for an ACK, what it holds for DATA, an error for
    /// ERROR or after that time. Without workers, calls and messages that come meanwhile wait.
    pub fn request(
        &self,
        target: &str,
        message_type: u8,
        payload: &Value,
        within: Duration,
    ) -> Result<Value, Error> {
        self.shared.figures.message_sent();
        self.shared.peers.request(target, message_type, &strict_json::text(payload), within)
    }

    /// Sends a signal to the core: BUSY holds calls back until READY; ERROR is shown in `reed plugin status` with its data.
    pub fn send_signal(&self, signal: Signal, data: &[u8]) -> Result<(), Error> {
        self.shared.send_signal(&mut *self.borrow()?, signal, data)
    }

    /// Asks the core for anything else, by the bytes of [`wire`](crate::wire): gives the payload of its response.
    pub fn ask(&self, command: Command, payload: &[u8]) -> Result<Vec<u8>, Error> {
        self.borrow()?.request(command, payload, COMMAND_TIMEOUT)
    }

    fn borrow(&self) -> Result<std::cell::RefMut<'_, Connection>, Error> {
        self.connection.try_borrow_mut().map_err(|_| Error::fail(500, "the connection is in use"))
    }
}
