//! The core's commands, as far as the permissions in the plugin's row allow them.
//!
//! They are sent on the connection of the handler's call. Calls that arrive meanwhile are handled afterwards.

use std::fmt;

use serde_json::Value;

use crate::error::Error;
use crate::snippet::{Page, Snippet};
use crate::strict_json;
use crate::wire::codes::{Command, ErrorCode};
use crate::wire::common::{Done, JsonResponse, pack_name, pack_ref};
use crate::wire::registry::{Definition, RegistryCheck, RegistryGot, RegistryPage};
use crate::wire::schema::{SchemaBond, SchemaBonded, SchemaTree, SchemaUnbond};
use crate::wire::search::{SearchIndexed, SearchPage, SearchQuery};
use crate::wire::snippets::{
    Record, SnippetCreate, SnippetDelete, SnippetFind, SnippetGot, SnippetList, SnippetRename,
    SnippetRestore, SnippetUpdate, SnippetWritten,
};

/// Sends commands to the core: a [`Context`](crate::Context), or a test's substitute.
pub(crate) trait Request {
    /// Returns the payload of the response.
    fn request(&self, command: Command, payload: &[u8]) -> Result<Vec<u8>, Error>;

    /// The response to each of these requests, or its error.
    fn request_all(&self, requests: &[(Command, Vec<u8>)]) -> Result<Vec<Result<Vec<u8>, Error>>, Error> {
        Ok(requests.iter().map(|(command, payload)| self.request(*command, payload)).collect())
    }
}

impl fmt::Debug for dyn Request + '_ {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the core")
    }
}

/// Commands on snippets: [`Context::snippet`](crate::Context::snippet). A `reference` is a UUID or a semantic name.
#[derive(Clone, Copy, Debug)]
pub struct SnippetCommands<'a>(pub(crate) &'a dyn Request);

impl SnippetCommands<'_> {
    /// A snippet; status 404 if there is none. Needs snippet_read, as do `list` and `find`.
    pub fn get(&self, reference: &str) -> Result<Snippet, Error> {
        let payload = self.0.request(Command::SnippetGet, &pack_ref(reference)?)?;
        Snippet::from_record(SnippetGot::unpack(&payload)?.record)
    }

    /// A page of the snippets of a type (all types if empty) after the cursor `after` (from the start if empty). `limit`
    /// 0 is 100; at most 1000.
    pub fn list(&self, snippet_type: &str, after: &str, limit: u32) -> Result<Page, Error> {
        let list = SnippetList { snippet_type: snippet_type.to_owned(), after: after.to_owned(), limit };
        Page::decode(&self.0.request(Command::SnippetList, &list.pack()?)?)
    }

    /// As `list`, but only snippets whose top-level fields equal `conditions`: `json!({"path": "blog/intro"})`. An index
    /// finds fields that the type declares as `indexed` or `unique`; for others all snippets of the type are read.
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
        Page::decode(&self.0.request(Command::SnippetFind, &find.pack()?)?)
    }

    /// Creates a snippet and returns its id; `name` may be empty. Needs snippet_write, as do `update`, `rename` and
    /// `delete`.
    pub fn create(&self, snippet_type: &str, name: &str, content: &Value) -> Result<String, Error> {
        self.write(Pack::create(snippet_type, name, content)?)
    }

    /// Sets the name of a snippet, or removes it (empty). Status 409 if the name is in use.
    pub fn rename(&self, reference: &str, name: &str) -> Result<String, Error> {
        self.write(Pack::rename(reference, name)?)
    }

    /// Applies a merge patch (RFC 7396: null removes a field). Status 409 unless the snippet has the version
    /// `if_version` (0: any).
    pub fn update(&self, reference: &str, patch: &Value, if_version: u32) -> Result<String, Error> {
        self.write(Pack::update(reference, patch, if_version)?)
    }

    /// Deletes a snippet. Status 409 if it has bonds, unless `cascade` deletes them too.
    pub fn delete(&self, reference: &str, cascade: bool) -> Result<String, Error> {
        self.write(Pack::delete(reference, cascade)?)
    }

    /// Writes a snippet with the id, version and times of `record`; `flags` are those of
    /// [`restore`](crate::wire::snippets::restore). The status is 201 (created), 204 (replaced an older version) or 200
    /// (unchanged), and `error` is a warning. Needs snippet_restore.
    pub fn restore(&self, record: &Record, flags: u8) -> Result<SnippetWritten, Error> {
        self.written(&Pack::restore(record, flags)?)
    }

    fn write(&self, request: Pack) -> Result<String, Error> {
        Ok(self.written(&request)?.snippet_id)
    }

    fn written(&self, request: &Pack) -> Result<SnippetWritten, Error> {
        refused(request.command, SnippetWritten::unpack(&request.send(self.0)?)?)
    }
}

/// The answer to a write, unless its status is an error.
pub(crate) fn refused(command: Command, answer: SnippetWritten) -> Result<SnippetWritten, Error> {
    if answer.status < 300 {
        return Ok(answer);
    }
    Err(Error::Refused {
        what: format!("{command:?}"),
        status: answer.status,
        code: ErrorCode::of_status(answer.status) as u32,
        message: answer.error,
    })
}

/// The request of a write, for the commands and for [`Batch`](crate::Batch).
pub(crate) struct Pack {
    pub(crate) command: Command,
    pub(crate) payload: Vec<u8>,
}

impl Pack {
    fn new(command: Command, payload: Vec<u8>) -> Pack {
        Pack { command, payload }
    }

    fn send(&self, core: &dyn Request) -> Result<Vec<u8>, Error> {
        core.request(self.command, &self.payload)
    }

    pub(crate) fn create(snippet_type: &str, name: &str, content: &Value) -> Result<Pack, Error> {
        let create = SnippetCreate {
            snippet_type: snippet_type.to_owned(),
            semantic_name: name.to_owned(),
            content: strict_json::text(content),
        };
        Ok(Pack::new(Command::SnippetCreate, create.pack()?))
    }

    pub(crate) fn update(reference: &str, patch: &Value, if_version: u32) -> Result<Pack, Error> {
        let update =
            SnippetUpdate { reference: reference.to_owned(), if_version, patch: strict_json::text(patch) };
        Ok(Pack::new(Command::SnippetUpdate, update.pack()?))
    }

    pub(crate) fn rename(reference: &str, name: &str) -> Result<Pack, Error> {
        let rename = SnippetRename { reference: reference.to_owned(), semantic_name: name.to_owned() };
        Ok(Pack::new(Command::SnippetRename, rename.pack()?))
    }

    pub(crate) fn delete(reference: &str, cascade: bool) -> Result<Pack, Error> {
        let delete = SnippetDelete { reference: reference.to_owned(), cascade };
        Ok(Pack::new(Command::SnippetDelete, delete.pack()?))
    }

    pub(crate) fn restore(record: &Record, flags: u8) -> Result<Pack, Error> {
        let restore = SnippetRestore { flags, record: record.clone() };
        Ok(Pack::new(Command::SnippetRestore, restore.pack()?))
    }

    pub(crate) fn bond(parent: &str, child: &str, weight: i32, path: &str) -> Result<Pack, Error> {
        let bond =
            SchemaBond { parent: parent.to_owned(), child: child.to_owned(), weight, path: path.to_owned() };
        Ok(Pack::new(Command::SchemaBond, bond.pack()?))
    }

    pub(crate) fn unbond(parent: &str, child: &str) -> Result<Pack, Error> {
        let unbond = SchemaUnbond { parent: parent.to_owned(), child: child.to_owned() };
        Ok(Pack::new(Command::SchemaUnbond, unbond.pack()?))
    }

    pub(crate) fn define(type_name: &str, definition: &Value) -> Result<Pack, Error> {
        let definition =
            Definition { type_name: type_name.to_owned(), definition: strict_json::text(definition) };
        Ok(Pack::new(Command::RegistryDefine, definition.pack()?))
    }

    pub(crate) fn delete_type(type_name: &str) -> Result<Pack, Error> {
        Ok(Pack::new(Command::RegistryDelete, pack_name(type_name)?))
    }
}

/// Commands on bonds: [`Context::schema`](crate::Context::schema).
#[derive(Clone, Copy, Debug)]
pub struct SchemaCommands<'a>(pub(crate) &'a dyn Request);

impl SchemaCommands<'_> {
    /// Bonds a child to a parent and returns the bond's id. Needs schema_write, as does `unbond`.
    pub fn bond(&self, parent: &str, child: &str, weight: i32, path: &str) -> Result<String, Error> {
        Ok(SchemaBonded::unpack(&Pack::bond(parent, child, weight, path)?.send(self.0)?)?.bond_id)
    }

    /// Removes a bond.
    pub fn unbond(&self, parent: &str, child: &str) -> Result<(), Error> {
        Done::unpack(&Pack::unbond(parent, child)?.send(self.0)?)?;
        Ok(())
    }

    /// `{id, type, name, weight, path, children}` of a root, or the list of all roots (empty), down to `depth` levels
    /// (0: all). Needs schema_read.
    pub fn tree(&self, root: &str, depth: u8) -> Result<Value, Error> {
        let tree = SchemaTree { root: root.to_owned(), depth };
        json_response(&self.0.request(Command::SchemaTree, &tree.pack()?)?)
    }
}

/// Commands on types: [`Context::registry`](crate::Context::registry).
#[derive(Clone, Copy, Debug)]
pub struct RegistryCommands<'a>(pub(crate) &'a dyn Request);

impl RegistryCommands<'_> {
    /// Defines a type, or redefines it; true if it is new. Needs registry_write.
    pub fn define(&self, type_name: &str, definition: &Value) -> Result<bool, Error> {
        Ok(Done::unpack(&Pack::define(type_name, definition)?.send(self.0)?)?.status == 201)
    }

    /// Deletes a type that has no snippets. Needs registry_write.
    pub fn delete(&self, type_name: &str) -> Result<(), Error> {
        Done::unpack(&Pack::delete_type(type_name)?.send(self.0)?)?;
        Ok(())
    }

    /// The definition of a type. Needs registry_read, as does `list`.
    pub fn get(&self, type_name: &str) -> Result<Value, Error> {
        let got = RegistryGot::unpack(&self.0.request(Command::RegistryGet, &pack_name(type_name)?)?)?;
        strict_json::parse(&got.definition.definition)
    }

    /// Checks up to 1000 snippets of a type against its definition: `{checked, unfit, first, cursor}`. `after` is the
    /// cursor of the previous part. Needs snippet_read.
    pub fn check(&self, type_name: &str, after: &str) -> Result<Value, Error> {
        let check = RegistryCheck { type_name: type_name.to_owned(), after: after.to_owned(), limit: 0 };
        json_response(&self.0.request(Command::RegistryCheck, &check.pack()?)?)
    }

    /// All types with their definitions.
    pub fn list(&self) -> Result<Vec<(String, Value)>, Error> {
        let page = RegistryPage::unpack(&self.0.request(Command::RegistryList, &[])?)?;
        page.definitions
            .into_iter()
            .map(|each| Ok((each.type_name, strict_json::parse(&each.definition)?)))
            .collect()
    }
}

/// Commands on the search index: [`Context::search`](crate::Context::search).
#[derive(Clone, Copy, Debug)]
pub struct SearchCommands<'a>(pub(crate) &'a dyn Request);

impl SearchCommands<'_> {
    /// Searches; the best hits come first. Needs search_read.
    pub fn query(&self, query: &SearchQuery) -> Result<SearchPage, Error> {
        SearchPage::unpack(&self.0.request(Command::SearchQuery, &query.pack()?)?)
    }

    /// Indexes a snippet again, or everything (empty); returns the number of snippets. Needs search_write.
    pub fn index(&self, reference: &str) -> Result<u32, Error> {
        let payload = self.0.request(Command::SearchIndex, &pack_ref(reference)?)?;
        Ok(SearchIndexed::unpack(&payload)?.indexed)
    }
}

fn json_response(payload: &[u8]) -> Result<Value, Error> {
    strict_json::parse(&JsonResponse::unpack(payload)?.json)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::cell::RefCell;

    use super::*;
    use serde_json::json;

    const ID: &str = "0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b";

    /// Answers every command with the same payload, and keeps the last request.
    struct FakeCore {
        response: Vec<u8>,
        request: RefCell<(Option<Command>, Vec<u8>)>,
    }

    impl Request for FakeCore {
        fn request(&self, command: Command, payload: &[u8]) -> Result<Vec<u8>, Error> {
            self.request.replace((Some(command), payload.to_vec()));
            Ok(self.response.clone())
        }
    }

    fn written(status: u16) -> FakeCore {
        let answer = SnippetWritten { status, snippet_id: ID.to_owned(), error: String::new() };
        FakeCore { response: answer.pack().unwrap(), request: RefCell::default() }
    }

    #[test]
    fn create_sends_type_name_and_content_and_returns_the_id() {
        let core = written(201);
        let id = SnippetCommands(&core).create("page", "intro", &json!({"n": 1.50})).unwrap();
        assert_eq!(id, ID);
        let (command, payload) = core.request.into_inner();
        let expected = SnippetCreate {
            snippet_type: "page".to_owned(),
            semantic_name: "intro".to_owned(),
            content: b"{\"n\":1.5}".to_vec(),
        };
        assert_eq!((command, payload), (Some(Command::SnippetCreate), expected.pack().unwrap()));
    }

    #[test]
    fn a_write_with_an_error_status_fails() {
        let error = SnippetCommands(&written(409)).delete(ID, false).unwrap_err();
        assert_eq!((error.status(), error.code()), (409, ErrorCode::Conflict as u32));
    }
}
