//! Payloads of several commands: signals, errors, a status, a name, a reference.

use crate::error::Error;
use crate::wire::fields::{NAME, REF, Reader, Writer};
use crate::wire::payload::{encoding, payload};

payload! {
    /// A signal, in either direction.
    #[derive(Clone, Debug, PartialEq, Eq)]
    SignalMessage, "signal" {
        /// A [`Signal`](crate::wire::codes::Signal).
        signal_type: u8,
        /// Unix microseconds.
        timestamp: u64,
        /// The sender, or the receiver.
        plugin_name: name,
        /// At most 65,535 bytes.
        data: bytes16,
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

payload! {
    /// The answer to SCHEMA_UNBOND and REGISTRY_DEFINE.
    #[derive(Clone, Debug, PartialEq, Eq)]
    Done, "response" {
        /// HTTP status.
        status: u16,
        /// Always empty.
        error: clipped,
    }
}

payload! {
    /// A status and JSON: the answer to SCHEMA_TREE, PLUGIN_REGISTER, PLUGIN_HEALTH, PLUGIN_LIST and SYSTEM_STATS.
    #[derive(Clone, Debug, PartialEq, Eq)]
    JsonResponse, "response" {
        /// HTTP status.
        status: u16,
        /// JSON text.
        json: bytes32,
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
