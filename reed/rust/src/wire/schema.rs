//! Payloads of the commands on bonds (10 to 12).

use crate::error::Error;
use crate::wire::fields::{REF, Reader, Writer};

/// SCHEMA_BOND
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaBond {
    /// UUID or semantic name.
    pub parent: String,
    /// UUID or semantic name.
    pub child: String,
    /// Children are ordered by weight.
    pub weight: i32,
    /// May be empty; at most 65,535 bytes.
    pub path: String,
}

impl SchemaBond {
    /// Encodes the payload.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let writer = Writer::new().text(&self.parent, REF)?.text(&self.child, REF)?.i32(self.weight);
        Ok(writer.tail16(self.path.as_bytes())?.done())
    }
}

/// The answer to SCHEMA_BOND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaBonded {
    /// HTTP status.
    pub status: u16,
    /// UUID in text form.
    pub bond_id: String,
    /// Always empty.
    pub error: String,
}

impl SchemaBonded {
    /// Decodes the payload.
    pub fn unpack(payload: &[u8]) -> Result<SchemaBonded, Error> {
        let mut reader = Reader::new(payload, "SCHEMA_BOND");
        let (status, bond_id) = (reader.u16()?, reader.text(REF)?);
        let size = usize::from(reader.u16()?);
        Ok(SchemaBonded { status, bond_id, error: reader.text_tail(size)? })
    }
}

/// SCHEMA_UNBOND
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaUnbond {
    /// UUID or semantic name.
    pub parent: String,
    /// UUID or semantic name.
    pub child: String,
}

impl SchemaUnbond {
    /// Encodes the payload.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(Writer::new().text(&self.parent, REF)?.text(&self.child, REF)?.done())
    }
}

/// SCHEMA_TREE
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaTree {
    /// UUID or semantic name; empty for all roots.
    pub root: String,
    /// Levels; 0 for all.
    pub depth: u8,
}

impl SchemaTree {
    /// Encodes the payload.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(Writer::new().text(&self.root, REF)?.u8(self.depth).done())
    }
}
