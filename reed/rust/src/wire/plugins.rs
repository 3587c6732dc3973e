//! Payloads of the commands on plugins (F0 and F7), and of calls.

use crate::error::Error;
use crate::wire::fields::{Reader, Writer};
use crate::wire::payload::{encoding, payload};

payload! {
    /// PLUGIN_REGISTER: the first frame on a plugin's connection.
    #[derive(Clone, Debug, PartialEq, Eq)]
    PluginRegister, "PLUGIN_REGISTER" {
        /// The name in its row of plugin-registry.csv.
        name: name,
        /// The version in its row; at most 15 bytes.
        version: version,
        /// The id of its process.
        pid: u32,
        /// JSON: `{"actions": {NAME: {"command_id": N}}, …}`.
        manifest: bytes32,
    }
}

payload! {
    /// PLUGIN_SEND: a call of a plugin's action through the core.
    #[derive(Clone, Debug, PartialEq, Eq)]
    PluginSend, "PLUGIN_SEND" {
        /// The name of the plugin.
        plugin: name,
        /// The name of the action.
        action: name,
        /// JSON, a reference, or bytes, as the action declares.
        input: bytes32,
    }
}

/// The answer to a call, and to PLUGIN_SEND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginAnswer {
    /// HTTP status.
    pub status: u16,
    /// JSON, or what the action declares.
    pub body: Vec<u8>,
}

impl PluginAnswer {
    /// Encodes the payload.
    pub fn pack(&self) -> Vec<u8> {
        Writer::new().u16(self.status).bytes(&self.body).done()
    }

    /// Decodes the payload.
    pub fn unpack(payload: &[u8]) -> Result<PluginAnswer, Error> {
        let mut reader = Reader::new(payload, "response");
        Ok(PluginAnswer { status: reader.u16()?, body: reader.rest().to_vec() })
    }
}
