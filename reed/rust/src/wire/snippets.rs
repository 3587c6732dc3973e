//! Payloads of the commands on snippets (01 to 09).

use crate::error::Error;
use crate::wire::fields::{NAME, REF, Reader, Writer};

/// SNIPPET_CREATE
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetCreate {
    /// The name of its type.
    pub snippet_type: String,
    /// May be empty.
    pub semantic_name: String,
    /// A JSON object.
    pub content: Vec<u8>,
}

impl SnippetCreate {
    /// Encodes the payload.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let writer = Writer::new().text(&self.snippet_type, NAME)?.text(&self.semantic_name, NAME)?;
        Ok(writer.tail32(&self.content)?.done())
    }
}

/// SNIPPET_UPDATE
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetUpdate {
    /// UUID or semantic name.
    pub reference: String,
    /// The version that the snippet must have; 0 for any.
    pub if_version: u32,
    /// A JSON merge patch (RFC 7396).
    pub patch: Vec<u8>,
}

impl SnippetUpdate {
    /// Encodes the payload.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let writer = Writer::new().text(&self.reference, REF)?.u32(self.if_version);
        Ok(writer.tail32(&self.patch)?.done())
    }
}

/// SNIPPET_DELETE
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetDelete {
    /// UUID or semantic name.
    pub reference: String,
    /// Deletes its bonds too; otherwise a snippet with bonds is status 409.
    pub cascade: bool,
}

impl SnippetDelete {
    /// Encodes the payload.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(Writer::new().text(&self.reference, REF)?.u8(u8::from(self.cascade)).done())
    }
}

/// The answer to the writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetWritten {
    /// HTTP status.
    pub status: u16,
    /// UUID in text form; empty after a failure.
    pub snippet_id: String,
    /// Why the write failed, or a warning of SNIPPET_RESTORE; otherwise empty.
    pub error: String,
}

impl SnippetWritten {
    /// Decodes the payload.
    pub fn unpack(payload: &[u8]) -> Result<SnippetWritten, Error> {
        let mut reader = Reader::new(payload, "snippet written");
        let (status, snippet_id) = (reader.u16()?, reader.text(REF)?);
        let size = usize::from(reader.u16()?);
        Ok(SnippetWritten { status, snippet_id, error: reader.text_tail(size)? })
    }
}

/// A stored snippet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// UUID in text form.
    pub id: String,
    /// The name of its type.
    pub snippet_type: String,
    /// May be empty.
    pub semantic_name: String,
    /// 1, 2, …
    pub version: u32,
    /// Unix microseconds.
    pub created_at: u64,
    /// Unix microseconds.
    pub updated_at: u64,
    /// JSON: exactly the stored bytes.
    pub content: Vec<u8>,
}

impl Record {
    pub(crate) fn unpack_from(reader: &mut Reader<'_>) -> Result<Record, Error> {
        let (id, snippet_type, semantic_name) = (reader.text(REF)?, reader.text(NAME)?, reader.text(NAME)?);
        let (version, created_at, updated_at) = (reader.u32()?, reader.u64()?, reader.u64()?);
        let size = reader.len32()?;
        let content = reader.take(size)?.to_vec();
        Ok(Record { id, snippet_type, semantic_name, version, created_at, updated_at, content })
    }
}

/// The flags of SNIPPET_RESTORE.
pub mod restore {
    /// Writes content that does not fit its type, with a warning.
    pub const ACCEPT_UNFIT: u8 = 0x01;
    /// Replaces a snippet with a newer version, or with other content in the same version.
    pub const OVERWRITE: u8 = 0x02;
    /// Answers what would happen, and writes nothing.
    pub const DRY_RUN: u8 = 0x04;
}

/// SNIPPET_RESTORE: writes a snippet with its id, version and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetRestore {
    /// Bits of [`restore`].
    pub flags: u8,
    /// The snippet.
    pub record: Record,
}

impl SnippetRestore {
    /// Encodes the payload.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let record = &self.record;
        let writer = Writer::new().u8(self.flags).text(&record.id, REF)?.text(&record.snippet_type, NAME)?;
        let writer = writer.text(&record.semantic_name, NAME)?.u32(record.version);
        Ok(writer.u64(record.created_at).u64(record.updated_at).tail32(&record.content)?.done())
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
    /// Decodes the payload.
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
    /// Empty for all types.
    pub snippet_type: String,
    /// The cursor of the previous page; empty for the first.
    pub after: String,
    /// 0 for 100; at most 1000.
    pub limit: u32,
}

impl SnippetList {
    /// Encodes the payload.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(Writer::new().text(&self.snippet_type, NAME)?.text(&self.after, REF)?.u32(self.limit).done())
    }
}

/// SNIPPET_FIND
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetFind {
    /// The name of a type.
    pub snippet_type: String,
    /// The cursor of the previous page; empty for the first.
    pub after: String,
    /// 0 for 100; at most 1000.
    pub limit: u32,
    /// A JSON object: top-level fields and their values.
    pub conditions: Vec<u8>,
}

impl SnippetFind {
    /// Encodes the payload.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let writer = Writer::new().text(&self.snippet_type, NAME)?.text(&self.after, REF)?.u32(self.limit);
        Ok(writer.tail32(&self.conditions)?.done())
    }
}

/// SNIPPET_RENAME
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetRename {
    /// UUID or semantic name.
    pub reference: String,
    /// The new name; empty to remove it.
    pub semantic_name: String,
}

impl SnippetRename {
    /// Encodes the payload.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        Ok(Writer::new().text(&self.reference, REF)?.text(&self.semantic_name, NAME)?.done())
    }
}

/// The answer to SNIPPET_LIST and SNIPPET_FIND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetPage {
    /// HTTP status.
    pub status: u16,
    /// The `after` of the next page; empty on the last page.
    pub cursor: String,
    /// In creation order.
    pub records: Vec<Record>,
}

impl SnippetPage {
    /// Decodes the payload.
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
