//! Requests to other plugins: those that wait for their answers.
//!
//! A request is named by the timestamp of its message. Its answer (ACK, ERROR or DATA) holds that timestamp as
//! `in_reply_to`; whichever thread reads the answer rings the bell of the one that waits.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bell::Bell;
use crate::error::Error;
use crate::locks::lock;
use crate::log;
use crate::strict_json;
use crate::wire::codes::messages;
use crate::wire::message::PluginMessage;

/// When a request is sent again for the first time; each next pause is twice as long.
const FIRST_REPEAT: Duration = Duration::from_secs(1);

type Key = (String, u64);
type Outcome = Result<Value, Error>;

struct Waiter {
    bell: Arc<Bell>,
    outcome: Option<Outcome>,
}

/// All requests that wait.
#[derive(Default)]
pub(crate) struct Requests {
    waiters: Mutex<HashMap<Key, Waiter>>,
}

impl Requests {
    /// A request that is about to be sent.
    pub(crate) fn begin(&self, target: &str) -> Result<Pending<'_>, Error> {
        Ok(Pending {
            requests: self,
            key: (target.to_owned(), 0),
            bell: Arc::new(Bell::new()?),
            pause: FIRST_REPEAT,
            repeat_at: Instant::now() + FIRST_REPEAT,
        })
    }

    /// An answer came. Nobody waits for it when the request was given up, or was a message that wanted none.
    pub(crate) fn answered(&self, message: &PluginMessage) {
        let answer = match strict_json::parse_around_content(&message.payload) {
            Ok(answer) => answer,
            Err(error) => return log::line(&format!("an answer of {}: {error}", message.source)),
        };
        let asked = answer.get("in_reply_to").and_then(Value::as_u64).unwrap_or_default();
        if let Some(waiter) = lock(&self.waiters).get_mut(&(message.source.clone(), asked)) {
            waiter.outcome = Some(read(message, answer));
            waiter.bell.ring();
        }
    }
}

fn read(message: &PluginMessage, mut answer: Value) -> Outcome {
    match message.message_type {
        messages::RESPONSE_ACK => Ok(Value::Null),
        messages::RESPONSE_DATA => Ok(answer.get_mut("data").map_or(Value::Null, Value::take)),
        _ => {
            let status = answer.get("status").and_then(Value::as_u64);
            let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(500);
            let said = answer.get("error").and_then(Value::as_str).unwrap_or("it gave no reason");
            let what = format!("a message to {}", message.source);
            Err(Error::Refused { what, status, code: 0, message: said.to_owned() })
        }
    }
}

/// One request, until it is dropped.
pub(crate) struct Pending<'a> {
    requests: &'a Requests,
    key: Key,
    bell: Arc<Bell>,
    pause: Duration,
    repeat_at: Instant,
}

impl Pending<'_> {
    /// The timestamp that its message was given.
    pub(crate) fn is_called(&mut self, timestamp: u64) {
        self.key.1 = timestamp;
        let waiter = Waiter { bell: Arc::clone(&self.bell), outcome: None };
        lock(&self.requests.waiters).insert(self.key.clone(), waiter);
    }

    pub(crate) fn target(&self) -> &str {
        &self.key.0
    }

    pub(crate) fn timestamp(&self) -> u64 {
        self.key.1
    }

    pub(crate) fn bell(&self) -> &OwnedFd {
        self.bell.fd()
    }

    pub(crate) fn is_answered(&self) -> bool {
        lock(&self.requests.waiters).get(&self.key).is_some_and(|waiter| waiter.outcome.is_some())
    }

    /// When to send it once more.
    pub(crate) fn repeat_at(&self) -> Instant {
        self.repeat_at
    }

    /// Whether to send it once more now; plans the next time.
    pub(crate) fn must_repeat(&mut self, now: Instant) -> bool {
        if now < self.repeat_at {
            return false;
        }
        self.pause *= 2;
        self.repeat_at = now + self.pause;
        true
    }

    /// The answer; null for an ACK.
    pub(crate) fn answer(&self) -> Outcome {
        let waiter = lock(&self.requests.waiters).remove(&self.key);
        waiter.and_then(|waiter| waiter.outcome).unwrap_or(Ok(Value::Null))
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        lock(&self.requests.waiters).remove(&self.key);
    }
}
