//! The core's commands: what a plugin may ask of the core, as far as its row's permissions go.
//!
//! They travel on the connection that the handler's call came on. Calls that arrive while a command waits are queued,
//! and handled after it.

use serde_json::Value;

use crate::context::Context;
use crate::error::Error;
use crate::strict_json;
use crate::wire::codes::{Command, ErrorCode};
use crate::wire::common::{Done, JsonResponse, pack_name, pack_ref};
use crate::wire::registry::{Definition, RegistryCheck, RegistryGot, RegistryPage};
use crate::wire::schema::{SchemaBond, SchemaBonded, SchemaTree, SchemaUnbond};
use crate::wire::search::{SearchIndexed, SearchPage, SearchQuery};
use crate::wire::snippets::{
    Record, SnippetCreate, SnippetDelete, SnippetFind, SnippetGot, SnippetList, SnippetPage, SnippetRename,
    SnippetRestore, SnippetUpdate, SnippetWritten,
};

/// A piece of content.
#[derive(Clone, Debug, PartialEq)]
pub struct Snippet {
    /// UUID in text.
    pub id: String,
    /// Its type.
    pub snippet_type: String,
    /// Its semantic name; may be empty.
    pub name: String,
    /// 1, 2, …
    pub version: u32,
    /// A JSON object.
    pub content: Value,
}

impl Snippet {
    fn of(record: Record) -> Result<Snippet, Error> {
        Ok(Snippet {
            id: record.id,
            snippet_type: record.snippet_type,
            name: record.semantic_name,
            version: record.version,
            content: strict_json::parse(&record.content)?,
        })
    }

    /// The snippet that the core looked up for an action with `input: snippet`.
    pub fn from_input(input: &[u8]) -> Result<Snippet, Error> {
        let mut value = strict_json::parse_around_content(input)?;
        let text = |key: &str| match value.get(key) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Null) => Ok(String::new()),
            _ => Err(Error::malformed("input", format!("no snippet: {key:?} is missing"))),
        };
        let (id, snippet_type, name) = (text("id")?, text("type")?, text("name")?);
        let version = value.get("version").and_then(Value::as_u64).unwrap_or_default();
        let content = value.get_mut("content").map(Value::take).filter(Value::is_object);
        let content =
            content.ok_or_else(|| Error::malformed("input", "no snippet: \"content\" is missing"))?;
        Ok(Snippet { id, snippet_type, name, version: u32::try_from(version).unwrap_or(u32::MAX), content })
    }

    /// A text of its content; empty when there is none.
    pub fn text(&self, field: &str) -> &str {
        self.content.get(field).and_then(Value::as_str).unwrap_or_default()
    }
}

/// One page of a list of snippets.
#[derive(Clone, Debug)]
pub struct Page {
    /// In creation order.
    pub snippets: Vec<Snippet>,
    /// `after` of the next page; empty at the end.
    pub after: String,
}

/// `ctx.snippet()`: commands on snippets. A `reference` is a UUID or a semantic name.
pub struct SnippetCommands<'a>(pub(crate) &'a Context<'a>);

impl SnippetCommands<'_> {
    /// The snippet; 404 when there is none. Needs snippet_read, as do `list` and `find`.
    pub fn get(&self, reference: &str) -> Result<Snippet, Error> {
        let payload = self.0.ask(Command::SnippetGet, &pack_ref(reference)?)?;
        Snippet::of(SnippetGot::unpack(&payload)?.record)
    }

    /// A page of at most `limit` snippets (0: 100; at most 1000) of a type ("": all), behind `after` ("": from the start).
    pub fn list(&self, snippet_type: &str, after: &str, limit: u32) -> Result<Page, Error> {
        let list = SnippetList { snippet_type: snippet_type.to_owned(), after: after.to_owned(), limit };
        self.page(Command::SnippetList, &list.pack()?)
    }

    /// As `list`, of a type's snippets whose top-level fields equal `conditions`: `json!({"path": "blog/intro"})`. Fields
    /// that the type names as `indexed` or `unique` are found by an index, others by reading all snippets of the type.
    pub fn find(
        &self,
        snippet_type: &str,
        conditions: &Value,
        after: &str,
        limit: u32,
    ) -> Result<Page, Error> {
        let find = SnippetFind {
            snippet_type: snippet_type.to_owned(),
            after: after.to_owned(),
            limit,
            conditions: strict_json::text(conditions),
        };
        self.page(Command::SnippetFind, &find.pack()?)
    }

    /// The id of a new snippet; `name` may be empty. Needs snippet_write, as do `update`, `rename` and `delete`.
    pub fn create(&self, snippet_type: &str, name: &str, content: &Value) -> Result<String, Error> {
        let create = SnippetCreate {
            snippet_type: snippet_type.to_owned(),
            semantic_name: name.to_owned(),
            content: strict_json::text(content),
        };
        self.write(Command::SnippetCreate, &create.pack()?)
    }

    /// Gives a snippet another name, or none (""). 409 if the name is in use.
    pub fn rename(&self, reference: &str, name: &str) -> Result<String, Error> {
        let rename = SnippetRename { reference: reference.to_owned(), semantic_name: name.to_owned() };
        self.write(Command::SnippetRename, &rename.pack()?)
    }

    /// Merges a patch (RFC 7396: null takes a field away). 409 unless it has that version (0: any).
    pub fn update(&self, reference: &str, patch: &Value, if_version: u32) -> Result<String, Error> {
        let update =
            SnippetUpdate { reference: reference.to_owned(), if_version, patch: strict_json::text(patch) };
        self.write(Command::SnippetUpdate, &update.pack()?)
    }

    /// Deletes it; with `cascade` its bonds too, else a bonded snippet is a 409.
    pub fn delete(&self, reference: &str, cascade: bool) -> Result<String, Error> {
        let delete = SnippetDelete { reference: reference.to_owned(), cascade };
        self.write(Command::SnippetDelete, &delete.pack()?)
    }

    /// Writes a snippet as it once was, with its id, version and times; `flags` are those of
    /// [`restore`](crate::wire::snippets::restore). The status is 201 (new), 204 (an older version was replaced) or 200
    /// (it is there alike), and `error` then is a warning. Needs snippet_restore.
    pub fn restore(&self, record: &Record, flags: u8) -> Result<SnippetWritten, Error> {
        self.written(Command::SnippetRestore, &SnippetRestore { flags, record: record.clone() }.pack()?)
    }

    fn page(&self, command: Command, payload: &[u8]) -> Result<Page, Error> {
        let page = SnippetPage::unpack(&self.0.ask(command, payload)?)?;
        let snippets: Result<_, _> = page.records.into_iter().map(Snippet::of).collect();
        Ok(Page { snippets: snippets?, after: page.cursor })
    }

    fn write(&self, command: Command, payload: &[u8]) -> Result<String, Error> {
        Ok(self.written(command, payload)?.snippet_id)
    }

    fn written(&self, command: Command, payload: &[u8]) -> Result<SnippetWritten, Error> {
        let written = SnippetWritten::unpack(&self.0.ask(command, payload)?)?;
        if written.status >= 300 {
            return Err(Error::Refused {
                what: format!("{command:?}"),
                status: written.status,
                code: ErrorCode::of_status(written.status) as u32,
                message: written.error,
            });
        }
        Ok(written)
    }
}

/// `ctx.schema()`: commands on bonds.
pub struct SchemaCommands<'a>(pub(crate) &'a Context<'a>);

impl SchemaCommands<'_> {
    /// Bonds a child to a parent; gives the bond's id. Needs schema_write, as does `unbond`.
    pub fn bond(&self, parent: &str, child: &str, weight: i32, path: &str) -> Result<String, Error> {
        let bond =
            SchemaBond { parent: parent.to_owned(), child: child.to_owned(), weight, path: path.to_owned() };
        Ok(SchemaBonded::unpack(&self.0.ask(Command::SchemaBond, &bond.pack()?)?)?.bond_id)
    }

    /// Takes the bond away.
    pub fn unbond(&self, parent: &str, child: &str) -> Result<(), Error> {
        let unbond = SchemaUnbond { parent: parent.to_owned(), child: child.to_owned() };
        Done::unpack(&self.0.ask(Command::SchemaUnbond, &unbond.pack()?)?)?;
        Ok(())
    }

    /// `{id, type, name, weight, path, children}` of a root ("": the list of all), so many levels deep (0: all). Needs
    /// schema_read.
    pub fn tree(&self, root: &str, depth: u8) -> Result<Value, Error> {
        let tree = SchemaTree { root: root.to_owned(), depth };
        strict_json::parse(&JsonResponse::unpack(&self.0.ask(Command::SchemaTree, &tree.pack()?)?)?.json)
    }
}

/// `ctx.registry()`: commands on types.
pub struct RegistryCommands<'a>(pub(crate) &'a Context<'a>);

impl RegistryCommands<'_> {
    /// Defines a type, or defines it anew; true when it was new. Needs registry_write.
    pub fn define(&self, type_name: &str, definition: &Value) -> Result<bool, Error> {
        let definition =
            Definition { type_name: type_name.to_owned(), definition: strict_json::text(definition) };
        Ok(Done::unpack(&self.0.ask(Command::RegistryDefine, &definition.pack()?)?)?.status == 201)
    }

    /// The definition of a type. Needs registry_read, as does `list`.
    pub fn get(&self, type_name: &str) -> Result<Value, Error> {
        let got = RegistryGot::unpack(&self.0.ask(Command::RegistryGet, &pack_name(type_name)?)?)?;
        strict_json::parse(&got.definition.definition)
    }

    /// `{checked, unfit, first, cursor}`: which snippets do not fit their type, a part of them at a time; `after` is the
    /// cursor of the part before. Needs snippet_read.
    pub fn check(&self, type_name: &str, after: &str) -> Result<Value, Error> {
        let check = RegistryCheck { type_name: type_name.to_owned(), after: after.to_owned(), limit: 0 };
        strict_json::parse(&JsonResponse::unpack(&self.0.ask(Command::RegistryCheck, &check.pack()?)?)?.json)
    }

    /// All types with their definitions.
    pub fn list(&self) -> Result<Vec<(String, Value)>, Error> {
        let page = RegistryPage::unpack(&self.0.ask(Command::RegistryList, &[])?)?;
        page.definitions
            .into_iter()
            .map(|each| Ok((each.type_name, strict_json::parse(&each.definition)?)))
            .collect()
    }
}

/// `ctx.search()`: commands on the search index.
pub struct SearchCommands<'a>(pub(crate) &'a Context<'a>);

impl SearchCommands<'_> {
    /// What is found, the best first. Needs search_read.
    pub fn query(&self, query: &SearchQuery) -> Result<SearchPage, Error> {
        SearchPage::unpack(&self.0.ask(Command::SearchQuery, &query.pack()?)?)
    }

    /// Indexes a snippet again ("": everything); gives the number indexed. Needs search_write.
    pub fn index(&self, reference: &str) -> Result<u32, Error> {
        Ok(SearchIndexed::unpack(&self.0.ask(Command::SearchIndex, &pack_ref(reference)?)?)?.indexed)
    }
}
