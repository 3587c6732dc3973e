//! Payloads of the commands on snippets (01 to 09).

use crate::error::Error;
use crate::wire::fields::{REF, Reader, Writer};
use crate::wire::payload::{encoding, payload};

payload! {
    /// SNIPPET_CREATE
    #[derive(Clone, Debug, PartialEq, Eq)]
    SnippetCreate, "SNIPPET_CREATE" {
        /// The name of its type.
        snippet_type: name,
        /// May be empty.
        semantic_name: name,
        /// A JSON object.
        content: bytes32,
    }
}

payload! {
    /// SNIPPET_UPDATE
    #[derive(Clone, Debug, PartialEq, Eq)]
    SnippetUpdate, "SNIPPET_UPDATE" {
        /// UUID or semantic name.
        reference: reference,
        /// The version that the snippet must have; 0 for any.
        if_version: u32,
        /// A JSON merge patch (RFC 7396).
        patch: bytes32,
    }
}

payload! {
    /// SNIPPET_DELETE
    #[derive(Clone, Debug, PartialEq, Eq)]
    SnippetDelete, "SNIPPET_DELETE" {
        /// UUID or semantic name.
        reference: reference,
        /// Deletes its bonds too; otherwise a snippet with bonds is status 409.
        cascade: flag,
    }
}

payload! {
    /// The answer to the writes.
    #[derive(Clone, Debug, PartialEq, Eq)]
    SnippetWritten, "snippet written" {
        /// HTTP status.
        status: u16,
        /// UUID in text form; empty after a failure.
        snippet_id: reference,
        /// Why the write failed, or a warning of SNIPPET_RESTORE; otherwise empty.
        error: clipped,
    }
}

payload! {
    /// A stored snippet.
    #[derive(Clone, Debug, PartialEq, Eq)]
    Record, "record" {
        /// UUID in text form.
        id: reference,
        /// The name of its type.
        snippet_type: name,
        /// May be empty.
        semantic_name: name,
        /// 1, 2, …
        version: u32,
        /// Unix microseconds.
        created_at: u64,
        /// Unix microseconds.
        updated_at: u64,
        /// JSON: exactly the stored bytes.
        content: bytes32,
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

payload! {
    /// SNIPPET_RESTORE: writes a snippet with its id, version and times.
    #[derive(Clone, Debug, PartialEq, Eq)]
    SnippetRestore, "SNIPPET_RESTORE" {
        /// Bits of [`restore`].
        flags: u8,
        /// The snippet.
        record: Record,
    }
}

payload! {
    /// The answer to SNIPPET_GET.
    #[derive(Clone, Debug, PartialEq, Eq)]
    SnippetGot, "SNIPPET_GET" {
        /// HTTP status.
        status: u16,
        /// The snippet.
        record: Record,
    }
}

payload! {
    /// SNIPPET_LIST
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    SnippetList, "SNIPPET_LIST" {
        /// Empty for all types.
        snippet_type: name,
        /// The cursor of the previous page; empty for the first.
        after: reference,
        /// 0 for 100; at most 1000.
        limit: u32,
    }
}

payload! {
    /// SNIPPET_FIND
    #[derive(Clone, Debug, PartialEq, Eq)]
    SnippetFind, "SNIPPET_FIND" {
        /// The name of a type.
        snippet_type: name,
        /// The cursor of the previous page; empty for the first.
        after: reference,
        /// 0 for 100; at most 1000.
        limit: u32,
        /// A JSON object: top-level fields and their values.
        conditions: bytes32,
    }
}

payload! {
    /// SNIPPET_RENAME
    #[derive(Clone, Debug, PartialEq, Eq)]
    SnippetRename, "SNIPPET_RENAME" {
        /// UUID or semantic name.
        reference: reference,
        /// The new name; empty to remove it.
        semantic_name: name,
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
    /// Encodes the payload.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let writer = Writer::new().u16(self.status).u32(self.records.len() as u32).text(&self.cursor, REF)?;
        Ok(self.records.iter().try_fold(writer, |writer, record| record.write(writer))?.done())
    }

    /// Decodes the payload.
    pub fn unpack(payload: &[u8]) -> Result<SnippetPage, Error> {
        let mut reader = Reader::new(payload, "SNIPPET_LIST");
        let (status, count, cursor) = (reader.u16()?, reader.u32()?, reader.text(REF)?);
        let records = (0..count).map(|_| Record::read(&mut reader)).collect::<Result<_, _>>()?;
        reader.end()?;
        Ok(SnippetPage { status, cursor, records })
    }
}
