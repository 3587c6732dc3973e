//! Other plugins, for tests: keeps the messages to them, and answers requests as the test says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use crate::error::Error;
use crate::shared::Post;
use crate::strict_json;
use crate::sys::{lock, now_micros};
use crate::testing::SentMessage;

/// Status and text of an error.
type Outcome = Result<Value, (u16, String)>;

#[derive(Debug, Default)]
pub(super) struct FakePost {
    messages: Mutex<Vec<SentMessage>>,
    answers: Mutex<BTreeMap<(String, u8), Outcome>>,
    missing: Mutex<BTreeSet<String>>,
}

impl FakePost {
    pub(super) fn answer(&self, target: &str, message_type: u8, outcome: Outcome) {
        lock(&self.answers).insert((target.to_owned(), message_type), outcome);
    }

    pub(super) fn without(&self, target: &str) {
        lock(&self.missing).insert(target.to_owned());
    }

    pub(super) fn messages(&self) -> Vec<SentMessage> {
        lock(&self.messages).clone()
    }

    fn keep(&self, target: &str, message_type: u8, payload: &[u8], is_request: bool) -> Result<u64, Error> {
        if lock(&self.missing).contains(target) {
            return Err(Error::NoFifo { plugin: target.to_owned(), nearest: String::new() });
        }
        let payload = strict_json::parse(payload)?;
        let mut messages = lock(&self.messages);
        messages.push(SentMessage { target: target.to_owned(), message_type, payload, is_request });
        Ok(now_micros() + messages.len() as u64)
    }
}

impl Post for FakePost {
    fn send(&self, target: &str, message_type: u8, payload: &[u8]) -> Result<u64, Error> {
        self.keep(target, message_type, payload, false)
    }

    fn request(
        &self,
        target: &str,
        message_type: u8,
        payload: &[u8],
        _timeout: Duration,
    ) -> Result<Value, Error> {
        self.keep(target, message_type, payload, true)?;
        let what = format!("a message to {target}");
        match lock(&self.answers).get(&(target.to_owned(), message_type)) {
            Some(Ok(value)) => Ok(value.clone()),
            Some(Err((status, message))) => {
                Err(Error::Refused { what, status: *status, code: 0, message: message.clone() })
            }
            None => {
                let set = format!("FakeCore::answer({target:?}, 0x{message_type:02X}, …) sets its answer");
                Err(Error::Refused { what, status: 503, code: 0, message: set })
            }
        }
    }
}
