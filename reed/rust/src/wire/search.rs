//! Payloads of the commands on search (30 and 31).

use crate::error::Error;
use crate::wire::fields::{NAME, REF, Reader, Writer};

/// SEARCH_QUERY
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchQuery {
    /// Empty: all types.
    pub snippet_type: String,
    /// Most hits to give; 0: the core's choice.
    pub limit: u32,
    /// Hits to leave out.
    pub offset: u32,
    /// Words and "phrases"; the last word may be the start of one.
    pub query: String,
}

impl SearchQuery {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let writer = Writer::new().text(&self.snippet_type, NAME)?.u32(self.limit).u32(self.offset);
        Ok(writer.tail16(self.query.as_bytes())?.done())
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<SearchQuery, Error> {
        let mut reader = Reader::new(payload, "SEARCH_QUERY");
        let (snippet_type, limit, offset) = (reader.text(NAME)?, reader.u32()?, reader.u32()?);
        let size = usize::from(reader.u16()?);
        Ok(SearchQuery { snippet_type, limit, offset, query: reader.text_tail(size)? })
    }
}

/// One snippet that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchHit {
    /// UUID in text.
    pub id: String,
    /// Its type.
    pub snippet_type: String,
    /// May be empty.
    pub semantic_name: String,
    /// Higher is better.
    pub score: f32,
    /// Where the words stand.
    pub excerpt: String,
}

impl SearchHit {
    fn pack_into(&self, writer: Writer) -> Result<Writer, Error> {
        let writer = writer.text(&self.id, REF)?.text(&self.snippet_type, NAME)?;
        Ok(writer.text(&self.semantic_name, NAME)?.f32(self.score).clipped16(&self.excerpt))
    }

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
    /// How many there are in all.
    pub total: u32,
    /// The best first.
    pub hits: Vec<SearchHit>,
}

impl SearchPage {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let mut writer = Writer::new().u16(self.status).u32(self.total).u32(self.hits.len() as u32);
        for hit in &self.hits {
            writer = hit.pack_into(writer)?;
        }
        Ok(writer.done())
    }

    /// Reads its bytes.
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
    /// Snippets indexed.
    pub indexed: u32,
}

impl SearchIndexed {
    /// Its bytes.
    pub fn pack(&self) -> Vec<u8> {
        Writer::new().u16(self.status).u32(self.indexed).done()
    }

    /// Reads its bytes.
    pub fn unpack(payload: &[u8]) -> Result<SearchIndexed, Error> {
        let mut reader = Reader::new(payload, "SEARCH_INDEX");
        let indexed = SearchIndexed { status: reader.u16()?, indexed: reader.u32()? };
        reader.end()?;
        Ok(indexed)
    }
}
