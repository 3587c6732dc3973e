//! Payloads of the commands on plugins (F0 and F7), and of calls.

use crate::error::Error;
use crate::wire::fields::{NAME, Reader, Writer};

const VERSION_FIELD: usize = 16;

/// PLUGIN_REGISTER: the first frame on a plugin's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginRegister {
    /// The name in its row of plugin-registry.csv.
    pub name: String,
    /// The version in its row; at most 15 bytes.
    pub version: String,
    /// The id of its process.
    pub pid: u32,
    /// JSON: `{"actions": {NAME: {"command_id": N}}, …}`.
    pub manifest: Vec<u8>,
}

impl PluginRegister {
    /// Encodes the payload.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let writer = Writer::new().text(&self.name, NAME)?.text(&self.version, VERSION_FIELD)?;
        Ok(writer.u32(self.pid).tail32(&self.manifest)?.done())
    }
}

/// PLUGIN_SEND: a call of a plugin's action through the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginSend {
    /// The name of the plugin.
    pub plugin: String,
    /// The name of the action.
    pub action: String,
    /// JSON, a reference, or bytes, as the action declares.
    pub input: Vec<u8>,
}

impl PluginSend {
    /// Encodes the payload.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let writer = Writer::new().text(&self.plugin, NAME)?.text(&self.action, NAME)?;
        Ok(writer.tail32(&self.input)?.done())
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
