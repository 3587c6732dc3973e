//! Payloads of several commands: signals, errors, a status, a name, a reference.

use crate::error::Error;
use crate::wire::fields::{NAME, REF, Reader, Writer};

/// A signal, in either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalMessage {
    /// A [`Signal`](crate::wire::codes::Signal).
    pub signal_type: u8,
    /// Unix microseconds.
    pub timestamp: u64,
    /// The sender, or the receiver.
    pub plugin_name: String,
    /// At most 65,535 bytes.
    pub data: Vec<u8>,
}

impl SignalMessage {
    /// Encodes the payload.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let writer = Writer::new().u8(self.signal_type).u64(self.timestamp).text(&self.plugin_name, NAME)?;
        Ok(writer.tail16(&self.data)?.done())
    }

    /// Decodes the payload.
    pub fn unpack(payload: &[u8]) -> Result<SignalMessage, Error> {
        let mut reader = Reader::new(payload, "signal");
        let (signal_type, timestamp, plugin_name) = (reader.u8()?, reader.u64()?, reader.text(NAME)?);
        let size = usize::from(reader.u16()?);
        Ok(SignalMessage { signal_type, timestamp, plugin_name, data: reader.tail(size)?.to_vec() })
    }
}

/// The answer to a request that failed; its frame has the flag ERROR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorResponse {
    /// HTTP status.
    pub status: u16,
    /// ReedCMS error code.
    pub error_code: u32,
    /// The text of the error.
    pub message: String,
}

impl ErrorResponse {
    /// Encodes the payload; truncates a long text.
    pub fn pack(&self) -> Vec<u8> {
        Writer::new().u16(self.status).u32(self.error_code).clipped16(&self.message).done()
    }

    /// Decodes the payload.
    pub fn unpack(payload: &[u8]) -> Result<ErrorResponse, Error> {
        let mut reader = Reader::new(payload, "error response");
        let (status, error_code) = (reader.u16()?, reader.u32()?);
        let size = usize::from(reader.u16()?);
        Ok(ErrorResponse { status, error_code, message: reader.text_tail(size)? })
    }
}

/// The answer to SCHEMA_UNBOND and REGISTRY_DEFINE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// HTTP status.
    pub status: u16,
    /// Always empty.
    pub error: String,
}

impl Done {
    /// Decodes the payload.
    pub fn unpack(payload: &[u8]) -> Result<Done, Error> {
        let mut reader = Reader::new(payload, "response");
        let status = reader.u16()?;
        let size = usize::from(reader.u16()?);
        Ok(Done { status, error: reader.text_tail(size)? })
    }
}

/// A status and JSON: the answer to SCHEMA_TREE, PLUGIN_REGISTER, PLUGIN_HEALTH, PLUGIN_LIST and SYSTEM_STATS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonResponse {
    /// HTTP status.
    pub status: u16,
    /// JSON text.
    pub json: Vec<u8>,
}

impl JsonResponse {
    /// Encodes the payload.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(Writer::new().u16(self.status).tail32(&self.json)?.done())
    }

    /// Decodes the payload.
    pub fn unpack(payload: &[u8]) -> Result<JsonResponse, Error> {
        let mut reader = Reader::new(payload, "response");
        let status = reader.u16()?;
        let size = reader.len32()?;
        Ok(JsonResponse { status, json: reader.tail(size)?.to_vec() })
    }
}

/// Encodes the request of REGISTRY_GET, REGISTRY_DELETE, PLUGIN_START, PLUGIN_STOP and PLUGIN_HEALTH.
pub fn pack_name(name: &str) -> Result<Vec<u8>, Error> {
    Ok(Writer::new().text(name, NAME)?.done())
}

/// Encodes the request of SNIPPET_GET and SEARCH_INDEX.
pub fn pack_ref(reference: &str) -> Result<Vec<u8>, Error> {
    Ok(Writer::new().text(reference, REF)?.done())
}
