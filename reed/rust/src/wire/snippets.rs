//! Payloads of the commands on snippets (01 to 09).

use crate::error::Error;
use crate::wire::fields::{NAME, REF, Reader, Writer};

/// SNIPPET_CREATE
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetCreate {
    /// A type that is defined.
    pub snippet_type: String,
    /// May be empty.
    pub semantic_name: String,
    /// A JSON object.
    pub content: Vec<u8>,
}

impl SnippetCreate {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let writer = Writer::new().text(&self.snippet_type, NAME)?.text(&self.semantic_name, NAME)?;
        Ok(writer.tail32(&self.content)?.done())
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<SnippetCreate, Error> {
        let mut reader = Reader::new(payload, "SNIPPET_CREATE");
        let (snippet_type, semantic_name) = (reader.text(NAME)?, reader.text(NAME)?);
        let size = reader.len32()?;
        Ok(SnippetCreate { snippet_type, semantic_name, content: reader.tail(size)?.to_vec() })
    }
}

/// SNIPPET_UPDATE
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetUpdate {
    /// Which snippet.
    pub reference: String,
    /// Only if it has this version; 0: any.
    pub if_version: u32,
    /// A JSON Merge Patch (RFC 7396).
    pub patch: Vec<u8>,
}

impl SnippetUpdate {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let writer = Writer::new().text(&self.reference, REF)?.u32(self.if_version);
        Ok(writer.tail32(&self.patch)?.done())
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<SnippetUpdate, Error> {
        let mut reader = Reader::new(payload, "SNIPPET_UPDATE");
        let (reference, if_version) = (reader.text(REF)?, reader.u32()?);
        let size = reader.len32()?;
        Ok(SnippetUpdate { reference, if_version, patch: reader.tail(size)?.to_vec() })
    }
}

/// SNIPPET_DELETE
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetDelete {
    /// Which snippet.
    pub reference: String,
    /// Its bonds go too; else a bonded snippet is a 409.
    pub cascade: bool,
}

impl SnippetDelete {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(Writer::new().text(&self.reference, REF)?.u8(u8::from(self.cascade)).done())
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<SnippetDelete, Error> {
        let mut reader = Reader::new(payload, "SNIPPET_DELETE");
        let (reference, cascade) = (reader.text(REF)?, reader.u8()?);
        if cascade > 1 {
            return Err(reader.wrong(format!("cascade is {cascade}, expected 0 or 1")));
        }
        reader.end()?;
        Ok(SnippetDelete { reference, cascade: cascade == 1 })
    }
}

/// The answer to the writes; `error` is empty when it was done, but for a warning of SNIPPET_RESTORE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetWritten {
    /// HTTP status.
    pub status: u16,
    /// Its id; empty when it was not done.
    pub snippet_id: String,
    /// What is wrong with the snippet.
    pub error: String,
}

impl SnippetWritten {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(Writer::new().u16(self.status).text(&self.snippet_id, REF)?.clipped16(&self.error).done())
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<SnippetWritten, Error> {
        let mut reader = Reader::new(payload, "snippet written");
        let (status, snippet_id) = (reader.u16()?, reader.text(REF)?);
        let size = usize::from(reader.u16()?);
        Ok(SnippetWritten { status, snippet_id, error: reader.text_tail(size)? })
    }
}

/// A snippet as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// UUID in text.
    pub id: String,
    /// Its type.
    pub snippet_type: String,
    /// May be empty.
    pub semantic_name: String,
    /// 1, 2, …
    pub version: u32,
    /// Unix microseconds.
    pub created_at: u64,
    /// Unix microseconds.
    pub updated_at: u64,
    /// JSON: exactly the bytes that were stored.
    pub content: Vec<u8>,
}

impl Record {
    fn pack_into(&self, writer: Writer) -> Result<Writer, Error> {
        let writer = writer.text(&self.id, REF)?.text(&self.snippet_type, NAME)?;
        let writer = writer.text(&self.semantic_name, NAME)?.u32(self.version);
        writer.u64(self.created_at).u64(self.updated_at).tail32(&self.content)
    }

    fn unpack_from(reader: &mut Reader<'_>) -> Result<Record, Error> {
        let (id, snippet_type, semantic_name) = (reader.text(REF)?, reader.text(NAME)?, reader.text(NAME)?);
        let (version, created_at, updated_at) = (reader.u32()?, reader.u64()?, reader.u64()?);
        let size = reader.len32()?;
        let content = reader.take(size)?.to_vec();
        Ok(Record { id, snippet_type, semantic_name, version, created_at, updated_at, content })
    }
}

/// Bits of SNIPPET_RESTORE's flags.
pub mod restore {
    /// Content that does not fit its type is written, with a warning.
    pub const ACCEPT_UNFIT: u8 = 0x01;
    /// Also what is there in a newer version, or otherwise in the same.
    pub const OVERWRITE: u8 = 0x02;
    /// Answer what would happen, and write nothing.
    pub const DRY_RUN: u8 = 0x04;
}

/// SNIPPET_RESTORE: a snippet to be written as it once was, with its id, version and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetRestore {
    /// Bits of [`restore`].
    pub flags: u8,
    /// The snippet.
    pub record: Record,
}

impl SnippetRestore {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(self.record.pack_into(Writer::new().u8(self.flags))?.done())
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<SnippetRestore, Error> {
        let mut reader = Reader::new(payload, "SNIPPET_RESTORE");
        let flags = reader.u8()?;
        if flags & !(restore::ACCEPT_UNFIT | restore::OVERWRITE | restore::DRY_RUN) != 0 {
            return Err(reader.wrong(format!("unknown flags 0x{flags:02X}")));
        }
        let restore = SnippetRestore { flags, record: Record::unpack_from(&mut reader)? };
        reader.end()?;
        Ok(restore)
    }
}

/// The answer to SNIPPET_GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetGot {
    /// HTTP status.
    pub status: u16,
    /// The snippet.
    pub record: Record,
}

impl SnippetGot {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(self.record.pack_into(Writer::new().u16(self.status))?.done())
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<SnippetGot, Error> {
        let mut reader = Reader::new(payload, "SNIPPET_GET");
        let got = SnippetGot { status: reader.u16()?, record: Record::unpack_from(&mut reader)? };
        reader.end()?;
        Ok(got)
    }
}

/// SNIPPET_LIST
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnippetList {
    /// Empty: all types.
    pub snippet_type: String,
    /// Id of the last one seen; empty: from the start.
    pub after: String,
    /// 0: 100; at most 1000.
    pub limit: u32,
}

impl SnippetList {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(Writer::new().text(&self.snippet_type, NAME)?.text(&self.after, REF)?.u32(self.limit).done())
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<SnippetList, Error> {
        let mut reader = Reader::new(payload, "SNIPPET_LIST");
        let list =
            SnippetList { snippet_type: reader.text(NAME)?, after: reader.text(REF)?, limit: reader.u32()? };
        reader.end()?;
        Ok(list)
    }
}

/// SNIPPET_FIND
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetFind {
    /// A type that is defined.
    pub snippet_type: String,
    /// Id of the last one seen; empty: from the start.
    pub after: String,
    /// 0: 100; at most 1000.
    pub limit: u32,
    /// A JSON object: the value that each field must have.
    pub conditions: Vec<u8>,
}

impl SnippetFind {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let writer = Writer::new().text(&self.snippet_type, NAME)?.text(&self.after, REF)?.u32(self.limit);
        Ok(writer.tail32(&self.conditions)?.done())
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<SnippetFind, Error> {
        let mut reader = Reader::new(payload, "SNIPPET_FIND");
        let (snippet_type, after, limit) = (reader.text(NAME)?, reader.text(REF)?, reader.u32()?);
        let size = reader.len32()?;
        Ok(SnippetFind { snippet_type, after, limit, conditions: reader.tail(size)?.to_vec() })
    }
}

/// SNIPPET_RENAME
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetRename {
    /// Which snippet.
    pub reference: String,
    /// Its new name; empty: it has none afterwards.
    pub semantic_name: String,
}

impl SnippetRename {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(Writer::new().text(&self.reference, REF)?.text(&self.semantic_name, NAME)?.done())
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<SnippetRename, Error> {
        let mut reader = Reader::new(payload, "SNIPPET_RENAME");
        let rename = SnippetRename { reference: reader.text(REF)?, semantic_name: reader.text(NAME)? };
        reader.end()?;
        Ok(rename)
    }
}

/// The answer to SNIPPET_LIST and SNIPPET_FIND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetPage {
    /// HTTP status.
    pub status: u16,
    /// `after` for the next page; empty: the end.
    pub cursor: String,
    /// In creation order.
    pub records: Vec<Record>,
}

impl SnippetPage {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let count = self.records.len() as u32;
        let mut writer = Writer::new().u16(self.status).u32(count).text(&self.cursor, REF)?;
        for record in &self.records {
            writer = record.pack_into(writer)?;
        }
        Ok(writer.done())
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<SnippetPage, Error> {
        let mut reader = Reader::new(payload, "SNIPPET_LIST");
        let (status, count, cursor) = (reader.u16()?, reader.u32()?, reader.text(REF)?);
        let mut records = Vec::new();
        for _ in 0..count {
            records.push(Record::unpack_from(&mut reader)?);
        }
        reader.end()?;
        Ok(SnippetPage { status, cursor, records })
    }
}
