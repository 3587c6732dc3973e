//! Payloads of the commands on bonds (10 to 12).

use crate::error::Error;
use crate::wire::fields::{REF, Reader, Writer};

/// SCHEMA_BOND
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaBond {
    /// Which snippet.
    pub parent: String,
    /// Which snippet.
    pub child: String,
    /// Children stand in the order of their weights.
    pub weight: i32,
    /// May be empty; at most 65,535 bytes.
    pub path: String,
}

impl SchemaBond {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let writer = Writer::new().text(&self.parent, REF)?.text(&self.child, REF)?.i32(self.weight);
        Ok(writer.tail16(self.path.as_bytes())?.done())
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<SchemaBond, Error> {
        let mut reader = Reader::new(payload, "SCHEMA_BOND");
        let (parent, child, weight) = (reader.text(REF)?, reader.text(REF)?, reader.i32()?);
        let size = usize::from(reader.u16()?);
        Ok(SchemaBond { parent, child, weight, path: reader.text_tail(size)? })
    }
}

/// The answer to SCHEMA_BOND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaBonded {
    /// HTTP status.
    pub status: u16,
    /// UUID in text.
    pub bond_id: String,
    /// Empty.
    pub error: String,
}

impl SchemaBonded {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(Writer::new().u16(self.status).text(&self.bond_id, REF)?.clipped16(&self.error).done())
    }

    /// Reads its bytes.
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
    /// Which snippet.
    pub parent: String,
    /// Which snippet.
    pub child: String,
}

impl SchemaUnbond {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(Writer::new().text(&self.parent, REF)?.text(&self.child, REF)?.done())
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<SchemaUnbond, Error> {
        let mut reader = Reader::new(payload, "SCHEMA_UNBOND");
        let unbond = SchemaUnbond { parent: reader.text(REF)?, child: reader.text(REF)? };
        reader.end()?;
        Ok(unbond)
    }
}

/// SCHEMA_TREE
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaTree {
    /// Empty: all roots.
    pub root: String,
    /// 0: all the way down.
    pub depth: u8,
}

impl SchemaTree {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(Writer::new().text(&self.root, REF)?.u8(self.depth).done())
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<SchemaTree, Error> {
        let mut reader = Reader::new(payload, "SCHEMA_TREE");
        let tree = SchemaTree { root: reader.text(REF)?, depth: reader.u8()? };
        reader.end()?;
        Ok(tree)
    }
}
