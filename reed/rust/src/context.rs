//! What a handler works with: the plugin's settings, the core's commands, and the other plugins.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::batch::Batch;
use crate::commands::{RegistryCommands, Request, SchemaCommands, SearchCommands, SnippetCommands};
use crate::connection::Connection;
use crate::error::{Error, Written};
use crate::shared::Shared;
use crate::strict_json;
use crate::wire::codes::{Command, Signal};

const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// The plugin's settings, the core's commands, and the other plugins.
pub struct Context<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) connection: &'a RefCell<Connection>,
}

impl Context<'_> {
    /// The plugin's name.
    pub fn name(&self) -> &str {
        &self.shared.info.name
    }

    /// The settings: those of plugin.yaml, overridden by those of reed.yaml.
    pub fn settings(&self) -> Arc<Value> {
        self.shared.registration().settings
    }

    /// The permissions in the plugin's row.
    pub fn permissions(&self) -> Arc<[String]> {
        self.shared.registration().permissions
    }

    /// The plugin's own folder, read-only.
    pub fn plugin_dir(&self) -> &Path {
        &self.shared.environment.plugin_dir
    }

    /// A writable folder, for a plugin with the permission file_write.
    pub fn data_dir(&self) -> Option<&Path> {
        self.shared.environment.data_dir.as_deref()
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

    /// Sends a message to another plugin without waiting for an answer, and returns the message's timestamp. If the FIFO
    /// is full the message is queued; if the queue is full too the error is [`Error::QueueFull`].
    pub fn send_message(&self, target: &str, message_type: u8, payload: &Value) -> Result<u64, Error> {
        self.shared.metrics.message_sent();
        self.shared.post().send(target, message_type, &strict_json::text(payload))
    }

    /// Sends a message to another plugin and waits for its answer: null for an ACK, the data for DATA, an error for ERROR
    /// and after the timeout, which is at most one hour. With a concurrency of 1, calls and messages that arrive meanwhile wait.
    pub fn request(
        &self,
        target: &str,
        message_type: u8,
        payload: &Value,
        timeout: Duration,
    ) -> Result<Value, Error> {
        self.shared.metrics.message_sent();
        self.shared.post().request(target, message_type, &strict_json::text(payload), timeout)
    }

    /// Sends a signal to the core. After BUSY the core holds calls back until READY; `reed plugin status` shows the data
    /// of ERROR.
    pub fn send_signal(&self, signal: Signal, data: &[u8]) -> Result<(), Error> {
        self.shared.send_signal(&mut *self.borrow()?, signal, data)
    }

    /// Sends any command to the core, with a payload of [`wire`](crate::wire), and returns the payload of the response.
    pub fn command(&self, command: Command, payload: &[u8]) -> Result<Vec<u8>, Error> {
        self.borrow()?.request(command, payload, COMMAND_TIMEOUT)
    }

    /// Queues the writes of `writes`, and sends them in one go; the core commits together what arrives together. The
    /// results are in the order of the writes.
    ///
    /// Writes take effect in their order, each checked by itself: if some fail the others hold, and the error is
    /// [`Error::Batch`]. Nothing is sent if `writes` returns an error. Reads see the state before the batch.
    pub fn batch(&self, writes: impl FnOnce(&Batch) -> Result<(), Error>) -> Result<Vec<Written>, Error> {
        let batch = Batch::default();
        writes(&batch)?;
        batch.send(self)
    }

    fn borrow(&self) -> Result<RefMut<'_, Connection>, Error> {
        self.connection.try_borrow_mut().map_err(|_| Error::fail(500, "the connection is in use"))
    }
}

impl Request for Context<'_> {
    fn request(&self, command: Command, payload: &[u8]) -> Result<Vec<u8>, Error> {
        self.command(command, payload)
    }

    fn request_all(&self, requests: &[(Command, Vec<u8>)]) -> Result<Vec<Result<Vec<u8>, Error>>, Error> {
        self.borrow()?.request_all(requests, COMMAND_TIMEOUT)
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Context").field("name", &self.name()).finish_non_exhaustive()
    }
}
