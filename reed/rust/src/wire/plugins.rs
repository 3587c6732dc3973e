//! Payloads of the commands on plugins (F0 to F9).

use crate::error::Error;
use crate::wire::fields::{NAME, Reader, Writer};

const VERSION_FIELD: usize = 16;

/// PLUGIN_REGISTER: the first frame of a plugin's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginRegister {
    /// As in its row.
    pub name: String,
    /// As in its row; at most 15 bytes.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// JSON: `{"actions": {NAME: {"command_id": N}}, …}`.
    pub manifest: Vec<u8>,
}

impl PluginRegister {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let writer = Writer::new().text(&self.name, NAME)?.text(&self.version, VERSION_FIELD)?;
        Ok(writer.u32(self.pid).tail32(&self.manifest)?.done())
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<PluginRegister, Error> {
        let mut reader = Reader::new(payload, "PLUGIN_REGISTER");
        let (name, version, pid) = (reader.text(NAME)?, reader.text(VERSION_FIELD)?, reader.u32()?);
        let size = reader.len32()?;
        Ok(PluginRegister { name, version, pid, manifest: reader.tail(size)?.to_vec() })
    }
}

/// PLUGIN_SEND: a call of a plugin's action, through the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginSend {
    /// Which plugin.
    pub plugin: String,
    /// Which action.
    pub action: String,
    /// JSON, a ref, or bytes: as the action declares.
    pub input: Vec<u8>,
}

impl PluginSend {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let writer = Writer::new().text(&self.plugin, NAME)?.text(&self.action, NAME)?;
        Ok(writer.tail32(&self.input)?.done())
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<PluginSend, Error> {
        let mut reader = Reader::new(payload, "PLUGIN_SEND");
        let (plugin, action) = (reader.text(NAME)?, reader.text(NAME)?);
        let size = reader.len32()?;
        Ok(PluginSend { plugin, action, input: reader.tail(size)?.to_vec() })
    }
}

/// The answer to PLUGIN_SEND and to a call of an action: a status, and all of the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginAnswer {
    /// HTTP status.
    pub status: u16,
    /// JSON, unless the action says otherwise.
    pub body: Vec<u8>,
}

impl PluginAnswer {
    /// Its bytes.
    pub fn pack(&self) -> Vec<u8> {
        Writer::new().u16(self.status).bytes(&self.body).done()
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<PluginAnswer, Error> {
        let mut reader = Reader::new(payload, "response");
        Ok(PluginAnswer { status: reader.u16()?, body: reader.rest().to_vec() })
    }
}
