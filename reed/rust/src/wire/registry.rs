//! Payloads of the commands on types (20 to 23).

use crate::error::Error;
use crate::wire::fields::{NAME, REF, Reader, Writer};

/// A type's name and its definition; by itself the payload of REGISTRY_DEFINE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// a-z, then a-z 0-9 -.
    pub type_name: String,
    /// JSON.
    pub definition: Vec<u8>,
}

impl Definition {
    /// The bytes of REGISTRY_DEFINE.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(self.pack_into(Writer::new())?.done())
    }

    /// Reads the bytes of REGISTRY_DEFINE.
    pub fn unpack(payload: &[u8]) -> Result<Definition, Error> {
        let mut reader = Reader::new(payload, "REGISTRY_DEFINE");
        let definition = Definition::unpack_from(&mut reader)?;
        reader.end()?;
        Ok(definition)
    }

    fn pack_into(&self, writer: Writer) -> Result<Writer, Error> {
        writer.text(&self.type_name, NAME)?.tail32(&self.definition)
    }

    fn unpack_from(reader: &mut Reader<'_>) -> Result<Definition, Error> {
        let type_name = reader.text(NAME)?;
        let size = reader.len32()?;
        Ok(Definition { type_name, definition: reader.take(size)?.to_vec() })
    }
}

/// REGISTRY_CHECK: which snippets do not fit the definition of their type? A part of them at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryCheck {
    /// The type.
    pub type_name: String,
    /// The cursor of the part before; empty: from the start.
    pub after: String,
    /// Snippets in this part; 0: 1000, which is the most.
    pub limit: u32,
}

impl RegistryCheck {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(Writer::new().text(&self.type_name, NAME)?.text(&self.after, REF)?.u32(self.limit).done())
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<RegistryCheck, Error> {
        let mut reader = Reader::new(payload, "REGISTRY_CHECK");
        let check =
            RegistryCheck { type_name: reader.text(NAME)?, after: reader.text(REF)?, limit: reader.u32()? };
        reader.end()?;
        Ok(check)
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
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(self.definition.pack_into(Writer::new().u16(self.status))?.done())
    }

    /// Reads its bytes.
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
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let mut writer = Writer::new().u16(self.status).u32(self.definitions.len() as u32);
        for definition in &self.definitions {
            writer = definition.pack_into(writer)?;
        }
        Ok(writer.done())
    }

    /// Reads its bytes.
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
