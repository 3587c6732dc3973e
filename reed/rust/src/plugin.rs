//! The trait that the SDK runs.

use std::time::Duration;

use serde_json::Value;

use crate::call::{Action, Input, Reply};
use crate::context::Context;
use crate::error::Error;
use crate::message::Answer;
use crate::registration::{PluginInfo, Sleep};
use crate::wire::codes::Signal;
use crate::wire::message::PluginMessage;

pub(crate) const RECONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A plugin. [`Plugin::builder`](crate::Plugin::builder) makes one of closures; implement the trait for a type of your
/// own and call [`run`](crate::run).
///
/// Handlers take `&self`, so keep mutable state in a `Mutex` or an atomic.
pub trait ReedPlugin: Send + Sync {
    /// The name in its row of plugin-registry.csv.
    fn name(&self) -> &str;

    /// The version in its row.
    fn version(&self) -> &str;

    /// The actions, as in plugin.yaml.
    fn actions(&self) -> Vec<Action>;

    /// Handles a call of the action with that id. An error or a panic is the answer to the call.
    fn handle_command(&self, ctx: &Context<'_>, command_id: u8, input: &Input<'_>) -> Result<Reply, Error>;

    /// Handles a signal of the core, before the SDK answers it. After RELOAD_CONFIG, [`Context::settings`] are the new
    /// ones.
    fn handle_signal(&self, _ctx: &Context<'_>, _signal: Signal, _data: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    /// Handles a message of another plugin. An error or a panic is the answer to the message.
    fn handle_plugin_message(&self, _ctx: &Context<'_>, message: &PluginMessage) -> Result<Answer, Error> {
        Err(no_message_handler(message))
    }

    /// The message types that it handles; the core only displays them.
    fn message_types(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Called once, after READY and before the first call: snippets can be read and written. If it fails the process ends,
    /// and the core starts it again, later each time.
    fn on_start(&self, _ctx: &Context<'_>) -> Result<(), Error> {
        Ok(())
    }

    /// Called before the plugin sleeps: free what can be computed again.
    fn on_sleep(&self, _ctx: &Context<'_>) -> Result<(), Error> {
        Ok(())
    }

    /// The plugin's own metrics, for `reed plugin health`.
    fn metrics(&self) -> Value {
        Value::Null
    }

    /// How many calls are handled at the same time, each on a thread and a connection of its own.
    fn concurrency(&self) -> usize {
        1
    }

    /// When the plugin sleeps, unless the core sets it.
    fn sleep(&self) -> Option<Sleep> {
        None
    }

    /// How long the plugin tries to reconnect to the core before it ends; 10 s by default.
    fn reconnect_timeout(&self) -> Duration {
        RECONNECT_TIMEOUT
    }
}

pub(crate) fn info(plugin: &dyn ReedPlugin) -> PluginInfo {
    PluginInfo {
        name: plugin.name().to_owned(),
        version: plugin.version().to_owned(),
        actions: plugin.actions(),
        message_types: plugin.message_types(),
        sleep: plugin.sleep(),
        reconnect_timeout: plugin.reconnect_timeout(),
    }
}

pub(crate) fn no_message_handler(message: &PluginMessage) -> Error {
    let message_type = message.message_type;
    Error::fail(404, format!("{} has no handler for messages of type 0x{message_type:02X}", message.target))
}
