//! Snippets, bonds and types in memory: each command's payload in, the payload of its response out.
//!
//! Errors have the status of the core's. Any type is accepted, and content is not checked against its definition.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::strict_json;
use crate::sys::now_micros;
use crate::testing::Write;
use crate::wire::codes::Command;
use crate::wire::common::{Done, JsonResponse};
use crate::wire::fields::{NAME, REF, Reader};
use crate::wire::registry::{Definition, RegistryGot, RegistryPage};
use crate::wire::schema::{SchemaBond, SchemaBonded, SchemaTree, SchemaUnbond};
use crate::wire::search::{SearchHit, SearchIndexed, SearchPage, SearchQuery};
use crate::wire::snippets::{
    Record, SnippetCreate, SnippetDelete, SnippetFind, SnippetGot, SnippetList, SnippetPage, SnippetRename,
    SnippetRestore, SnippetUpdate, SnippetWritten,
};

const DEFAULT_PAGE: usize = 100;

/// The payload of a response, and what a write did.
type Answered = Result<(Vec<u8>, Option<Write>), Error>;

#[derive(Debug, Default)]
pub(super) struct FakeContent {
    records: BTreeMap<String, Record>, // by id, which are in the order of creation
    bonds: Vec<Bond>,
    types: BTreeMap<String, Vec<u8>>,
    last_id: u64,
    pub(super) deleted: Vec<Record>,
}

#[derive(Debug)]
struct Bond {
    parent: String,
    child: String,
    weight: i32,
    path: String,
}

impl FakeContent {
    pub(super) fn handle(&mut self, command: Command, payload: &[u8]) -> Answered {
        match command {
            Command::SnippetGet => self.get(&Reader::new(payload, "SNIPPET_GET").text(REF)?),
            Command::SnippetList => self.list(SnippetList::unpack(payload)?),
            Command::SnippetFind => self.find_all(SnippetFind::unpack(payload)?),
            Command::SnippetCreate => self.create(SnippetCreate::unpack(payload)?),
            Command::SnippetUpdate => self.update(SnippetUpdate::unpack(payload)?),
            Command::SnippetRename => self.rename(SnippetRename::unpack(payload)?),
            Command::SnippetDelete => self.delete(SnippetDelete::unpack(payload)?),
            Command::SnippetRestore => self.restore(SnippetRestore::unpack(payload)?),
            Command::SchemaBond => self.bond(SchemaBond::unpack(payload)?),
            Command::SchemaUnbond => self.unbond(SchemaUnbond::unpack(payload)?),
            Command::SchemaTree => self.tree(&SchemaTree::unpack(payload)?),
            Command::RegistryDefine => self.define(Definition::unpack(payload)?),
            Command::RegistryGet => self.definition(Reader::new(payload, "REGISTRY_GET").text(NAME)?),
            Command::RegistryList => self.definitions(),
            Command::RegistryDelete => self.undefine(&Reader::new(payload, "REGISTRY_DELETE").text(NAME)?),
            Command::SearchQuery => self.search(&SearchQuery::unpack(payload)?),
            Command::SearchIndex => Ok((SearchIndexed { status: 200, indexed: self.count() }.pack()?, None)),
            _ => Err(Error::fail(
                501,
                format!("the fake core does not know {command:?}; FakeCore::respond sets its response"),
            )),
        }
    }

    pub(super) fn find(&self, reference: &str) -> Option<&Record> {
        let by_name = |record: &&Record| !reference.is_empty() && record.semantic_name == reference;
        self.records.get(reference).or_else(|| self.records.values().find(by_name))
    }

    fn record(&self, reference: &str) -> Result<&Record, Error> {
        self.find(reference).ok_or_else(|| Error::fail(404, format!("no snippet {reference:?}")))
    }

    fn count(&self) -> u32 {
        u32::try_from(self.records.len()).unwrap_or(u32::MAX)
    }

    // Snippets

    fn get(&self, reference: &str) -> Answered {
        Ok((SnippetGot { status: 200, record: self.record(reference)?.clone() }.pack()?, None))
    }

    fn list(&self, asked: SnippetList) -> Answered {
        let SnippetList { snippet_type, after, limit } = asked;
        self.find_all(SnippetFind { snippet_type, after, limit, conditions: b"{}".to_vec() })
    }

    fn find_all(&self, asked: SnippetFind) -> Answered {
        let conditions = object(&asked.conditions)?;
        let limit = if asked.limit == 0 { DEFAULT_PAGE } else { asked.limit as usize };
        let mut records = Vec::new();
        for record in self.records.values().filter(|record| record.id > asked.after) {
            let content = strict_json::parse(&record.content)?;
            let fits = conditions.iter().all(|(field, wanted)| content.get(field) == Some(wanted));
            if fits && of_type(record, &asked.snippet_type) {
                records.push(record.clone());
            }
        }
        let is_last = records.len() <= limit;
        records.truncate(limit);
        let cursor = records.last().filter(|_| !is_last).map(|last| last.id.clone()).unwrap_or_default();
        Ok((SnippetPage { status: 200, cursor, records }.pack()?, None))
    }

    fn create(&mut self, asked: SnippetCreate) -> Answered {
        let (kind, name) = (asked.snippet_type, asked.semantic_name);
        let content = Value::Object(object(&asked.content)?);
        self.check_name(&name, "")?;
        let (id, now) = (self.next_id(), now_micros());
        let record = Record {
            id: id.clone(),
            snippet_type: kind.clone(),
            semantic_name: name.clone(),
            version: 1,
            created_at: now,
            updated_at: now,
            content: strict_json::text(&content),
        };
        self.records.insert(id.clone(), record);
        written(Command::SnippetCreate, 201, id, json!({"type": kind, "name": name, "content": content}))
    }

    fn update(&mut self, asked: SnippetUpdate) -> Answered {
        let (reference, if_version) = (asked.reference, asked.if_version);
        let patch = Value::Object(object(&asked.patch)?);
        let record = self.record(&reference)?;
        if if_version != 0 && if_version != record.version {
            let version = record.version;
            return Err(Error::fail(409, format!("{reference} has version {version}, not {if_version}")));
        }
        let mut content = strict_json::parse(&record.content)?;
        merge(&mut content, &patch);
        let id = record.id.clone();
        self.change(&id, |record| record.content = strict_json::text(&content));
        let fields = json!({"ref": reference, "if_version": if_version, "patch": patch});
        written(Command::SnippetUpdate, 200, id, fields)
    }

    fn rename(&mut self, asked: SnippetRename) -> Answered {
        let (reference, name) = (asked.reference, asked.semantic_name);
        let id = self.record(&reference)?.id.clone();
        self.check_name(&name, &id)?;
        self.change(&id, |record| record.semantic_name.clone_from(&name));
        written(Command::SnippetRename, 200, id, json!({"ref": reference, "name": name}))
    }

    fn delete(&mut self, asked: SnippetDelete) -> Answered {
        let SnippetDelete { reference, cascade } = asked;
        let id = self.record(&reference)?.id.clone();
        let is_bonded = |bond: &Bond| bond.parent == id || bond.child == id;
        if !cascade && self.bonds.iter().any(is_bonded) {
            return Err(Error::fail(409, format!("{reference} has bonds")));
        }
        self.bonds.retain(|bond| !is_bonded(bond));
        self.deleted.extend(self.records.remove(&id));
        written(Command::SnippetDelete, 200, id, json!({"ref": reference, "cascade": cascade}))
    }

    fn restore(&mut self, asked: SnippetRestore) -> Answered {
        let SnippetRestore { flags, record } = asked;
        let fields = json!({
            "flags": flags, "type": record.snippet_type, "name": record.semantic_name, "version": record.version,
            "content": strict_json::parse(&record.content)?,
        });
        let id = record.id.clone();
        let status = if self.records.insert(id.clone(), record).is_some() { 204 } else { 201 };
        written(Command::SnippetRestore, status, id, fields)
    }

    fn change(&mut self, id: &str, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.records.get_mut(id) {
            change(record);
            record.version += 1;
            record.updated_at = now_micros().max(record.updated_at + 1);
        }
    }

    fn check_name(&self, name: &str, own_id: &str) -> Result<(), Error> {
        match self.records.values().find(|record| !name.is_empty() && record.semantic_name == name) {
            Some(holder) if holder.id != own_id => {
                Err(Error::fail(409, format!("the name {name:?} is in use by {}", holder.id)))
            }
            _ => Ok(()),
        }
    }

    /// In the format of the core's ids, and the same in every run.
    fn next_id(&mut self) -> String {
        self.last_id += 1;
        format!("01900000-0000-7000-8000-{:012x}", self.last_id)
    }

    // Bonds

    fn bond(&mut self, asked: SchemaBond) -> Answered {
        let SchemaBond { parent, child, weight, path } = asked;
        let (parent_id, child_id) = (self.record(&parent)?.id.clone(), self.record(&child)?.id.clone());
        if self.bonds.iter().any(|bond| bond.parent == parent_id && bond.child == child_id) {
            return Err(Error::fail(409, format!("{parent} and {child} are already bonded")));
        }
        let id = self.next_id();
        let fields = json!({"parent": parent, "child": child, "weight": weight, "path": path});
        self.bonds.push(Bond { parent: parent_id, child: child_id, weight, path });
        let answer = SchemaBonded { status: 201, bond_id: id.clone(), error: String::new() };
        Ok((answer.pack()?, Some(Write { command: Command::SchemaBond, id, fields })))
    }

    fn unbond(&mut self, asked: SchemaUnbond) -> Answered {
        let SchemaUnbond { parent, child } = asked;
        let (parent_id, child_id) = (self.record(&parent)?.id.clone(), self.record(&child)?.id.clone());
        let before = self.bonds.len();
        self.bonds.retain(|bond| bond.parent != parent_id || bond.child != child_id);
        if self.bonds.len() == before {
            return Err(Error::fail(404, format!("{child} is not a child of {parent}")));
        }
        done(Command::SchemaUnbond, 200, json!({"parent": parent, "child": child}))
    }

    fn tree(&self, asked: &SchemaTree) -> Answered {
        let levels = usize::from(if asked.depth == 0 { u8::MAX } else { asked.depth });
        let tree = if asked.root.is_empty() {
            let is_child = |id: &str| self.bonds.iter().any(|bond| bond.child == id);
            let roots = self.records.values().filter(|record| !is_child(&record.id));
            Value::Array(roots.map(|record| self.node(record, 0, "", levels)).collect())
        } else {
            self.node(self.record(&asked.root)?, 0, "", levels)
        };
        Ok((JsonResponse { status: 200, json: strict_json::text(&tree) }.pack()?, None))
    }

    fn node(&self, record: &Record, weight: i32, path: &str, levels: usize) -> Value {
        let mut bonds: Vec<&Bond> = self.bonds.iter().filter(|bond| bond.parent == record.id).collect();
        bonds.sort_by_key(|bond| bond.weight);
        let below = bonds.iter().filter(|_| levels > 0).filter_map(|bond| {
            let child = self.records.get(&bond.child)?;
            Some(self.node(child, bond.weight, &bond.path, levels - 1))
        });
        json!({
            "id": record.id, "type": record.snippet_type, "name": record.semantic_name, "weight": weight,
            "path": path, "children": below.collect::<Vec<_>>(),
        })
    }

    // Types

    fn define(&mut self, asked: Definition) -> Answered {
        let name = asked.type_name;
        let definition = Value::Object(object(&asked.definition)?);
        let is_new = self.types.insert(name.clone(), strict_json::text(&definition)).is_none();
        let status = if is_new { 201 } else { 200 };
        done(Command::RegistryDefine, status, json!({"name": name, "definition": definition}))
    }

    fn definition(&self, type_name: String) -> Answered {
        let definition = self.types.get(&type_name).cloned().ok_or_else(|| no_type(&type_name))?;
        Ok((RegistryGot { status: 200, definition: Definition { type_name, definition } }.pack()?, None))
    }

    fn definitions(&self) -> Answered {
        let all = self.types.iter();
        let definitions = all
            .map(|(name, definition)| Definition { type_name: name.clone(), definition: definition.clone() })
            .collect();
        Ok((RegistryPage { status: 200, definitions }.pack()?, None))
    }

    fn undefine(&mut self, name: &str) -> Answered {
        if self.records.values().any(|record| record.snippet_type == name) {
            return Err(Error::fail(409, format!("type {name:?} has snippets")));
        }
        self.types.remove(name).ok_or_else(|| no_type(name))?;
        done(Command::RegistryDelete, 200, json!({"name": name}))
    }

    // Search

    /// Snippets whose content has all words; the score is the number of occurrences.
    fn search(&self, asked: &SearchQuery) -> Answered {
        let query = asked.query.to_lowercase();
        let mut hits = Vec::new();
        for record in self.records.values().filter(|record| of_type(record, &asked.snippet_type)) {
            let text = String::from_utf8_lossy(&record.content).to_lowercase();
            let counts: Vec<usize> =
                query.split_whitespace().map(|word| text.matches(word).count()).collect();
            if !counts.is_empty() && counts.iter().all(|count| *count > 0) {
                hits.push((counts.iter().sum::<usize>(), record));
            }
        }
        hits.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
        let total = hits.len() as u32;
        let limit = if asked.limit == 0 { usize::MAX } else { asked.limit as usize };
        let page = hits.into_iter().skip(asked.offset as usize).take(limit);
        let hits = page.map(|(score, record)| SearchHit {
            id: record.id.clone(),
            snippet_type: record.snippet_type.clone(),
            semantic_name: record.semantic_name.clone(),
            score: score as f32,
            excerpt: String::new(),
        });
        Ok((SearchPage { status: 200, total, hits: hits.collect() }.pack()?, None))
    }
}

fn written(command: Command, status: u16, id: String, fields: Value) -> Answered {
    let answer = SnippetWritten { status, snippet_id: id.clone(), error: String::new() };
    Ok((answer.pack()?, Some(Write { command, id, fields })))
}

fn done(command: Command, status: u16, fields: Value) -> Answered {
    Ok((Done { status, error: String::new() }.pack()?, Some(Write { command, id: String::new(), fields })))
}

fn no_type(name: &str) -> Error {
    Error::fail(404, format!("no type {name:?}"))
}

fn of_type(record: &Record, kind: &str) -> bool {
    kind.is_empty() || record.snippet_type == kind
}

fn object(text: &[u8]) -> Result<Map<String, Value>, Error> {
    match strict_json::parse(text)? {
        Value::Object(fields) => Ok(fields),
        other => Err(Error::fail(422, format!("expected a JSON object, found {other}"))),
    }
}

/// RFC 7396
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Some(fields) = target.as_object_mut() {
        for (key, change) in changes {
            if change.is_null() {
                fields.remove(key);
            } else {
                merge(fields.entry(key).or_insert(Value::Null), change);
            }
        }
    }
}
