//! Snippets as handlers see them.

use serde_json::Value;

use crate::error::Error;
use crate::strict_json;
use crate::wire::snippets::{Record, SnippetPage};

/// A piece of content.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snippet {
    /// UUID in text form.
    pub id: String,
    /// The name of its type.
    pub snippet_type: String,
    /// Its semantic name; may be empty.
    pub name: String,
    /// 1, 2, …
    pub version: u32,
    /// Unix microseconds; 0 in the input of an action, which does not carry it.
    pub created_at: u64,
    /// Unix microseconds; 0 in the input of an action, which does not carry it.
    pub updated_at: u64,
    /// A JSON object.
    pub content: Value,
}

impl Snippet {
    /// A snippet that is not stored: version 1, without an id and times. For tests of handlers.
    pub fn new(snippet_type: impl Into<String>, name: impl Into<String>, content: Value) -> Snippet {
        let (snippet_type, name) = (snippet_type.into(), name.into());
        Snippet { id: String::new(), snippet_type, name, version: 1, created_at: 0, updated_at: 0, content }
    }

    pub(crate) fn from_record(record: Record) -> Result<Snippet, Error> {
        Ok(Snippet {
            id: record.id,
            snippet_type: record.snippet_type,
            name: record.semantic_name,
            version: record.version,
            created_at: record.created_at,
            updated_at: record.updated_at,
            content: strict_json::parse(&record.content)?,
        })
    }

    /// Decodes the input of an action with `input: snippet`.
    pub fn from_input(input: &[u8]) -> Result<Snippet, Error> {
        let mut value = strict_json::parse_around_content(input)?;
        let missing = |key: &str| Error::malformed("input", format!("not a snippet: {key:?} is missing"));
        let text = |key: &str| match value.get(key) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Null) => Ok(String::new()),
            _ => Err(missing(key)),
        };
        let (id, snippet_type, name) = (text("id")?, text("type")?, text("name")?);
        let number = |key: &str| value.get(key).and_then(Value::as_u64).unwrap_or_default();
        let version = u32::try_from(number("version")).unwrap_or(u32::MAX);
        let (created_at, updated_at) = (number("created_at"), number("updated_at"));
        let content = value.get_mut("content").map(Value::take).filter(Value::is_object);
        let content = content.ok_or_else(|| missing("content"))?;
        Ok(Snippet { id, snippet_type, name, version, created_at, updated_at, content })
    }

    /// A text field of its content; empty if there is none.
    pub fn text(&self, field: &str) -> &str {
        self.content.get(field).and_then(Value::as_str).unwrap_or_default()
    }
}

/// One page of a list of snippets.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Page {
    /// In creation order.
    pub snippets: Vec<Snippet>,
    /// The `after` of the next page; empty on the last page.
    pub after: String,
}

impl Page {
    pub(crate) fn decode(payload: &[u8]) -> Result<Page, Error> {
        let page = SnippetPage::unpack(payload)?;
        let snippets: Result<_, _> = page.records.into_iter().map(Snippet::from_record).collect();
        Ok(Page { snippets: snippets?, after: page.cursor })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Snippet;
    use serde_json::json;

    #[test]
    fn the_input_of_an_action_is_decoded() {
        let input =
            br#"{"id": "0190", "type": "page", "name": null, "version": 3, "content": {"title": "Hi"}}"#;
        let snippet = Snippet::from_input(input).unwrap();
        assert_eq!((snippet.version, snippet.created_at, snippet.text("title")), (3, 0, "Hi"));
        let fresh = Snippet::new("page", "", json!({"title": "Hi"}));
        assert_eq!(Snippet { id: "0190".to_owned(), version: 3, ..fresh }, snippet);
        assert_eq!(Snippet::from_input(br#"{"id": "0190"}"#).unwrap_err().status(), 400);
    }
}
