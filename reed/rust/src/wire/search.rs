//! Payloads of the commands on the search index (30 and 31).

use crate::wire::payload::{encoding, payload};

payload! {
    /// SEARCH_QUERY
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    SearchQuery, "SEARCH_QUERY" {
        /// Empty for all types.
        snippet_type: name,
        /// The maximum number of hits; 0 for the core's default.
        limit: u32,
        /// The number of hits to skip.
        offset: u32,
        /// Words and "phrases"; the last word may be a prefix.
        query: text16,
    }
}

payload! {
    /// A snippet that was found.
    #[derive(Clone, Debug, PartialEq)]
    SearchHit, "search hit" {
        /// UUID in text form.
        id: reference,
        /// The name of its type.
        snippet_type: name,
        /// May be empty.
        semantic_name: name,
        /// Higher is better.
        score: f32,
        /// The text around the words.
        excerpt: clipped,
    }
}

payload! {
    /// The answer to SEARCH_QUERY.
    #[derive(Clone, Debug, PartialEq)]
    SearchPage, "SEARCH_QUERY" {
        /// HTTP status.
        status: u16,
        /// The number of all hits.
        total: u32,
        /// The best first.
        hits: [SearchHit],
    }
}

payload! {
    /// The answer to SEARCH_INDEX.
    #[derive(Clone, Debug, PartialEq, Eq)]
    SearchIndexed, "SEARCH_INDEX" {
        /// HTTP status.
        status: u16,
        /// The number of snippets.
        indexed: u32,
    }
}
