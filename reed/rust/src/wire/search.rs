//! Payloads of the commands on the search index (30 and 31).

use crate::error::Error;
use crate::wire::fields::{NAME, REF, Reader, Writer};

/// SEARCH_QUERY
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchQuery {
    /// Empty for all types.
    pub snippet_type: String,
    /// The maximum number of hits; 0 for the core's default.
    pub limit: u32,
    /// The number of hits to skip.
    pub offset: u32,
    /// Words and "phrases"; the last word may be a prefix.
    pub query: String,
}

impl SearchQuery {
    /// Encodes the payload.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let writer = Writer::new().text(&self.snippet_type, NAME)?.u32(self.limit).u32(self.offset);
        Ok(writer.tail16(self.query.as_bytes())?.done())
    }
}

/// A snippet that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchHit {
    /// UUID in text form.
    pub id: String,
    /// The name of its type.
    pub snippet_type: String,
    /// May be empty.
    pub semantic_name: String,
    /// Higher is better.
    pub score: f32,
    /// The text around the words.
    pub excerpt: String,
}

impl SearchHit {
    fn unpack_from(reader: &mut Reader<'_>) -> Result<SearchHit, Error> {
        let (id, snippet_type, semantic_name) = (reader.text(REF)?, reader.text(NAME)?, reader.text(NAME)?);
        let score = reader.f32()?;
        let size = usize::from(reader.u16()?);
        Ok(SearchHit { id, snippet_type, semantic_name, score, excerpt: reader.long_text(size)? })
    }
}

/// The answer to SEARCH_QUERY.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchPage {
    /// HTTP status.
    pub status: u16,
    /// The number of all hits.
    pub total: u32,
    /// The best first.
    pub hits: Vec<SearchHit>,
}

impl SearchPage {
    /// Decodes the payload.
    pub fn unpack(payload: &[u8]) -> Result<SearchPage, Error> {
        let mut reader = Reader::new(payload, "SEARCH_QUERY");
        let (status, total, count) = (reader.u16()?, reader.u32()?, reader.u32()?);
        let mut hits = Vec::new();
        for _ in 0..count {
            hits.push(SearchHit::unpack_from(&mut reader)?);
        }
        reader.end()?;
        Ok(SearchPage { status, total, hits })
    }
}

/// The answer to SEARCH_INDEX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchIndexed {
    /// HTTP status.
    pub status: u16,
    /// The number of snippets.
    pub indexed: u32,
}

impl SearchIndexed {
    /// Decodes the payload.
    pub fn unpack(payload: &[u8]) -> Result<SearchIndexed, Error> {
        let mut reader = Reader::new(payload, "SEARCH_INDEX");
        let indexed = SearchIndexed { status: reader.u16()?, indexed: reader.u32()? };
        reader.end()?;
        Ok(indexed)
    }
}
