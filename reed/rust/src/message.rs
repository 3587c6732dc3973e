//! Answers to messages of other plugins.
//!
//! Their payload has `in_reply_to`, the timestamp of the message that is answered, and `data` or `status` and `error`.

use serde_json::{Value, json};

use crate::error::Error;
use crate::strict_json;
use crate::wire::codes::messages;
use crate::wire::message::PluginMessage;

/// The answer to a message of another plugin.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Answer {
    /// No answer, for messages whose sender expects none.
    None,
    /// RESPONSE_ACK: the message was handled.
    Ack,
    /// RESPONSE_DATA: the message was handled, with this result.
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

pub(crate) fn encode(outcome: &Result<Answer, Error>, in_reply_to: u64) -> Option<(u8, Vec<u8>)> {
    let (message_type, body) = match outcome {
        Ok(Answer::None) => return None,
        Ok(Answer::Ack) => (messages::RESPONSE_ACK, json!({"in_reply_to": in_reply_to})),
        Ok(Answer::Data(data)) => {
            (messages::RESPONSE_DATA, json!({"in_reply_to": in_reply_to, "data": data}))
        }
        Err(error) => {
            let (status, text) = (error.status(), error.to_string());
            (messages::RESPONSE_ERROR, json!({"in_reply_to": in_reply_to, "status": status, "error": text}))
        }
    };
    Some((message_type, strict_json::text(&body)))
}

/// The timestamp of the answered message, and what its request returns: null for an ACK.
pub(crate) fn decode(answer: &PluginMessage) -> Result<(u64, Result<Value, Error>), Error> {
    let mut body = strict_json::parse_around_content(&answer.payload)?;
    let in_reply_to = body.get("in_reply_to").and_then(Value::as_u64).unwrap_or_default();
    let outcome = match answer.message_type {
        messages::RESPONSE_ACK => Ok(Value::Null),
        messages::RESPONSE_DATA => Ok(body.get_mut("data").map_or(Value::Null, Value::take)),
        _ => {
            let status = body.get("status").and_then(Value::as_u64);
            let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(500);
            let text = body.get("error").and_then(Value::as_str).unwrap_or("no reason given");
            let what = format!("a message to {}", answer.source);
            Err(Error::Refused { what, status, code: 0, message: text.to_owned() })
        }
    };
    Ok((in_reply_to, outcome))
}
