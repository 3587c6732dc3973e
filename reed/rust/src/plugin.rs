//! What a plugin is: the trait that the SDK runs, and the values its handlers take and give.

use std::time::Duration;

use serde_json::{Value, json};

use crate::commands::Snippet;
use crate::context::Context;
use crate::error::Error;
use crate::strict_json;
use crate::wire::codes::Signal;
use crate::wire::message::PluginMessage;

/// A plugin. [`Plugin`](crate::Plugin) makes one of closures; implement the trait for one with a type of its own.
///
/// Handlers take `&self`: what changes stands in a `Mutex` or an atomic. With [`ReedPlugin::workers`] above one they
/// run side by side, else one after the other.
pub trait ReedPlugin: Send + Sync {
    /// As in its row of plugin-registry.csv.
    fn name(&self) -> &str;

    /// As in its row.
    fn version(&self) -> &str;

    /// What it can be asked to do.
    fn actions(&self) -> Vec<Action>;

    /// A call of the action with that id. An error, or a panic, is that call's answer, and the plugin lives.
    fn handle_command(&self, ctx: &Context<'_>, command_id: u8, input: &Input<'_>) -> Result<Reply, Error>;

    /// A signal of the core; the SDK answers it afterwards. RELOAD_CONFIG: [`Context::settings`] are the new ones.
    fn handle_signal(&self, _ctx: &Context<'_>, _signal: Signal, _data: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    /// A message of another plugin. An error is answered as such.
    fn handle_plugin_message(&self, _ctx: &Context<'_>, message: &PluginMessage) -> Result<Answer, Error> {
        Err(no_handler(message))
    }

    /// The message types that it handles: for people who look at it.
    fn message_types(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Called before it goes to sleep: give back what can be made again.
    fn on_sleep(&self, _ctx: &Context<'_>) -> Result<(), Error> {
        Ok(())
    }

    /// Figures of its own, for `reed plugin health`.
    fn figures(&self) -> Value {
        Value::Null
    }

    /// How many calls it takes at the same time; each has a connection and a thread.
    fn workers(&self) -> usize {
        1
    }

    /// When it sleeps, unless the core says otherwise.
    fn sleep(&self) -> Option<Sleep> {
        None
    }

    /// How long it tries to find the core again when that is gone.
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }
}

pub(crate) fn no_handler(message: &PluginMessage) -> Error {
    let kind = message.message_type;
    Error::fail(404, format!("{} has no handler for messages of type 0x{kind:02X}", message.target))
}

/// An action's name and its id, 1 to 239, as in plugin.yaml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The name that people call it by.
    pub name: String,
    /// The id of its frames.
    pub command_id: u8,
}

/// When an idle plugin sleeps (plugin.yaml: `sleep`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleep {
    /// After that time it gives memory back and waits; whatever comes wakes it.
    Light(Duration),
    /// After that time it ends; the core starts it again when something comes.
    Deep(Duration),
}

impl Sleep {
    pub(crate) fn after(self) -> Duration {
        match self {
            Sleep::Light(after) | Sleep::Deep(after) => after,
        }
    }
}

/// What a call brings.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// An input of those bytes: in tests of handlers.
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input(bytes)
    }

    /// As it came.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// `input: json`: the caller's JSON; null when there is none.
    pub fn json(&self) -> Result<Value, Error> {
        if self.0.is_empty() { Ok(Value::Null) } else { strict_json::parse(self.0) }
    }

    /// `input: snippet`: the snippet that the caller named.
    pub fn snippet(&self) -> Result<Snippet, Error> {
        Snippet::from_input(self.0)
    }
}

/// The answer to a call: a status, 200 unless told otherwise, and a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status, 200 to 599.
    pub status: u16,
    /// JSON text, or whatever plugin.yaml says of the action.
    pub body: Vec<u8>,
}

impl Reply {
    /// Bytes that are not to be written as JSON.
    pub fn bytes(body: impl Into<Vec<u8>>) -> Reply {
        Reply { status: 200, body: body.into() }
    }

    /// With another status.
    pub fn with_status(self, status: u16) -> Reply {
        Reply { status, ..self }
    }
}

impl From<Value> for Reply {
    fn from(value: Value) -> Reply {
        Reply::bytes(strict_json::text(&value))
    }
}

impl From<()> for Reply {
    fn from((): ()) -> Reply {
        Reply::from(json!({}))
    }
}

/// The answer to a message of another plugin.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// None is sent: for messages whose sender wants none.
    None,
    /// MSG_RESPONSE_ACK: it was received.
    Ack,
    /// MSG_RESPONSE_DATA
    Data(Value),
}

impl From<()> for Answer {
    fn from((): ()) -> Answer {
        Answer::Ack
    }
}

impl From<Value> for Answer {
    fn from(value: Value) -> Answer {
        Answer::Data(value)
    }
}
