//! Calls of actions: what a handler gets, and what it returns.

use serde_json::{Value, json};

use crate::error::Error;
use crate::snippet::Snippet;
use crate::strict_json;

/// An action's name and its id, 1 to 239, as in plugin.yaml.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Action {
    /// The name by which people call it.
    pub name: String,
    /// The command id of its frames.
    pub command_id: u8,
}

impl Action {
    /// An action with this name and id.
    pub fn new(name: impl Into<String>, command_id: u8) -> Action {
        Action { name: name.into(), command_id }
    }
}

/// The input of a call.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// An input of these bytes, for tests of handlers.
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input(bytes)
    }

    /// The bytes as received.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The caller's JSON (`input: json`); null if the input is empty.
    pub fn json(&self) -> Result<Value, Error> {
        if self.0.is_empty() { Ok(Value::Null) } else { strict_json::parse(self.0) }
    }

    /// As `json`, or None if the input is no JSON.
    pub fn decoded(&self) -> Option<Value> {
        strict_json::parse(self.0).ok()
    }

    /// The snippet that the caller named (`input: snippet`).
    pub fn snippet(&self) -> Result<Snippet, Error> {
        Snippet::from_input(self.0)
    }
}

/// The answer to a call: a status, 200 by default, and a body.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// HTTP status, 200 to 599.
    pub status: u16,
    /// JSON text, or whatever `output` in plugin.yaml says.
    pub body: Vec<u8>,
}

impl Reply {
    /// A body that is sent as it is.
    pub fn bytes(body: impl Into<Vec<u8>>) -> Reply {
        Reply { status: 200, body: body.into() }
    }

    /// The body, if it is JSON; for tests.
    pub fn json(&self) -> Result<Value, Error> {
        strict_json::parse_around_content(&self.body)
    }

    /// The same body with another status.
    #[must_use]
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
