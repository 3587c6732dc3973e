//! Payloads of the commands on types (20 to 23).

use crate::error::Error;
use crate::wire::fields::{NAME, REF, Reader, Writer};

/// REGISTRY_DEFINE: a type's name and its definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// a-z, then a-z 0-9 -.
    pub type_name: String,
    /// JSON.
    pub definition: Vec<u8>,
}

impl Definition {
    /// Encodes the payload of REGISTRY_DEFINE.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(Writer::new().text(&self.type_name, NAME)?.tail32(&self.definition)?.done())
    }

    fn unpack_from(reader: &mut Reader<'_>) -> Result<Definition, Error> {
        let type_name = reader.text(NAME)?;
        let size = reader.len32()?;
        Ok(Definition { type_name, definition: reader.take(size)?.to_vec() })
    }
}

/// REGISTRY_CHECK: checks a part of a type's snippets against its definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryCheck {
    /// The name of the type.
    pub type_name: String,
    /// The cursor of the previous part; empty for the first.
    pub after: String,
    /// The number of snippets; 0 for 1000, which is the maximum.
    pub limit: u32,
}

impl RegistryCheck {
    /// Encodes the payload.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(Writer::new().text(&self.type_name, NAME)?.text(&self.after, REF)?.u32(self.limit).done())
    }
}

/// The answer to REGISTRY_GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryGot {
    /// HTTP status.
    pub status: u16,
    /// The type.
    pub definition: Definition,
}

impl RegistryGot {
    /// Decodes the payload.
    pub fn unpack(payload: &[u8]) -> Result<RegistryGot, Error> {
        let mut reader = Reader::new(payload, "REGISTRY_GET");
        let got = RegistryGot { status: reader.u16()?, definition: Definition::unpack_from(&mut reader)? };
        reader.end()?;
        Ok(got)
    }
}

/// The answer to REGISTRY_LIST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryPage {
    /// HTTP status.
    pub status: u16,
    /// All types.
    pub definitions: Vec<Definition>,
}

impl RegistryPage {
    /// Decodes the payload.
    pub fn unpack(payload: &[u8]) -> Result<RegistryPage, Error> {
        let mut reader = Reader::new(payload, "REGISTRY_LIST");
        let (status, count) = (reader.u16()?, reader.u32()?);
        let mut definitions = Vec::new();
        for _ in 0..count {
            definitions.push(Definition::unpack_from(&mut reader)?);
        }
        reader.end()?;
        Ok(RegistryPage { status, definitions })
    }
}
