//! Payloads that every part of the protocol shares: signals, errors, a status, a name, a ref.

use crate::error::Error;
use crate::wire::fields::{NAME, REF, Reader, Writer};

/// A signal, to or from the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalMessage {
    /// A [`Signal`](crate::wire::codes::Signal).
    pub signal_type: u8,
    /// Unix microseconds.
    pub timestamp: u64,
    /// Source, or target.
    pub plugin_name: String,
    /// What else there is to say; at most 65,535 bytes.
    pub data: Vec<u8>,
}

impl SignalMessage {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let writer = Writer::new().u8(self.signal_type).u64(self.timestamp).text(&self.plugin_name, NAME)?;
        Ok(writer.tail16(&self.data)?.done())
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<SignalMessage, Error> {
        let mut reader = Reader::new(payload, "signal");
        let (signal_type, timestamp, plugin_name) = (reader.u8()?, reader.u64()?, reader.text(NAME)?);
        let size = usize::from(reader.u16()?);
        Ok(SignalMessage { signal_type, timestamp, plugin_name, data: reader.tail(size)?.to_vec() })
    }
}

/// The answer to a call that could not be fulfilled; the frame's flag ERROR is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorResponse {
    /// HTTP status.
    pub status: u16,
    /// ReedCMS error code.
    pub error_code: u32,
    /// What happened.
    pub message: String,
}

impl ErrorResponse {
    /// Its bytes; a text too long is cut.
    pub fn pack(&self) -> Vec<u8> {
        Writer::new().u16(self.status).u32(self.error_code).clipped16(&self.message).done()
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<ErrorResponse, Error> {
        let mut reader = Reader::new(payload, "error response");
        let (status, error_code) = (reader.u16()?, reader.u32()?);
        let size = usize::from(reader.u16()?);
        Ok(ErrorResponse { status, error_code, message: reader.text_tail(size)? })
    }
}

/// The answer to UNBOND and DEFINE: a status, and an error text that is always empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// HTTP status.
    pub status: u16,
    /// Empty.
    pub error: String,
}

impl Done {
    /// Its bytes.
    pub fn pack(&self) -> Vec<u8> {
        Writer::new().u16(self.status).clipped16(&self.error).done()
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<Done, Error> {
        let mut reader = Reader::new(payload, "response");
        let status = reader.u16()?;
        let size = usize::from(reader.u16()?);
        Ok(Done { status, error: reader.text_tail(size)? })
    }
}

/// A status, then JSON with its length: TREE, REGISTER, HEALTH, PLUGIN_LIST, SYSTEM_STATS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonResponse {
    /// HTTP status.
    pub status: u16,
    /// JSON text.
    pub json: Vec<u8>,
}

impl JsonResponse {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(Writer::new().u16(self.status).tail32(&self.json)?.done())
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<JsonResponse, Error> {
        let mut reader = Reader::new(payload, "response");
        let status = reader.u16()?;
        let size = reader.len32()?;
        Ok(JsonResponse { status, json: reader.tail(size)?.to_vec() })
    }
}

/// The request of REGISTRY_GET, PLUGIN_START, PLUGIN_STOP and PLUGIN_HEALTH.
pub fn pack_name(name: &str) -> Result<Vec<u8>, Error> {
    Ok(Writer::new().text(name, NAME)?.done())
}

/// Reads the request of REGISTRY_GET, PLUGIN_START, PLUGIN_STOP and PLUGIN_HEALTH.
pub fn unpack_name(payload: &[u8]) -> Result<String, Error> {
    let mut reader = Reader::new(payload, "name");
    let name = reader.text(NAME)?;
    reader.end()?;
    Ok(name)
}

/// The request of SNIPPET_GET and SEARCH_INDEX.
pub fn pack_ref(reference: &str) -> Result<Vec<u8>, Error> {
    Ok(Writer::new().text(reference, REF)?.done())
}

/// Reads the request of SNIPPET_GET and SEARCH_INDEX.
pub fn unpack_ref(payload: &[u8]) -> Result<String, Error> {
    let mut reader = Reader::new(payload, "ref");
    let reference = reader.text(REF)?;
    reader.end()?;
    Ok(reference)
}

/// Reads the request of a command that has no payload; `what` names it in the error.
pub fn unpack_nothing(payload: &[u8], what: &'static str) -> Result<(), Error> {
    Reader::new(payload, what).end()
}
