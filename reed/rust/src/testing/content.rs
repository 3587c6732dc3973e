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
use crate::wire::common::JsonResponse;
use crate::wire::fields::{NAME, REF, Reader, Writer};
use crate::wire::snippets::Record;

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
        let mut reader = Reader::new(payload, "request");
        let reader = &mut reader;
        match command {
            Command::SnippetGet => self.get(reader),
            Command::SnippetList => self.list(reader, false),
            Command::SnippetFind => self.list(reader, true),
            Command::SnippetCreate => self.create(reader),
            Command::SnippetUpdate => self.update(reader),
            Command::SnippetRename => self.rename(reader),
            Command::SnippetDelete => self.delete(reader),
            Command::SnippetRestore => self.restore(reader),
            Command::SchemaBond => self.bond(reader),
            Command::SchemaUnbond => self.unbond(reader),
            Command::SchemaTree => self.tree(reader),
            Command::RegistryDefine => self.define(reader),
            Command::RegistryGet => self.definition(reader),
            Command::RegistryList => self.definitions(),
            Command::RegistryDelete => self.undefine(reader),
            Command::SearchQuery => self.search(reader),
            Command::SearchIndex => Ok((Writer::new().u16(200).u32(self.count()).done(), None)),
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

    fn get(&self, reader: &mut Reader<'_>) -> Answered {
        let record = self.record(&reader.text(REF)?)?;
        Ok((pack(record, Writer::new().u16(200))?.done(), None))
    }

    fn list(&self, reader: &mut Reader<'_>, with_conditions: bool) -> Answered {
        let (kind, after, limit) = (reader.text(NAME)?, reader.text(REF)?, reader.u32()?);
        let conditions = if with_conditions { object(json_tail(reader)?)? } else { Map::new() };
        let limit = if limit == 0 { DEFAULT_PAGE } else { limit as usize };
        let mut found = Vec::new();
        for record in self.records.values().filter(|record| record.id > after && of_type(record, &kind)) {
            let content = strict_json::parse(&record.content)?;
            if conditions.iter().all(|(field, wanted)| content.get(field) == Some(wanted)) {
                found.push(record);
            }
        }
        let cursor = found.get(limit).and_then(|_| found.get(limit - 1)).map_or("", |last| last.id.as_str());
        found.truncate(limit);
        let mut writer = Writer::new().u16(200).u32(found.len() as u32).text(cursor, REF)?;
        for record in found {
            writer = pack(record, writer)?;
        }
        Ok((writer.done(), None))
    }

    fn create(&mut self, reader: &mut Reader<'_>) -> Answered {
        let (kind, name) = (reader.text(NAME)?, reader.text(NAME)?);
        let content = Value::Object(object(json_tail(reader)?)?);
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

    fn update(&mut self, reader: &mut Reader<'_>) -> Answered {
        let (reference, if_version) = (reader.text(REF)?, reader.u32()?);
        let patch = Value::Object(object(json_tail(reader)?)?);
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

    fn rename(&mut self, reader: &mut Reader<'_>) -> Answered {
        let (reference, name) = (reader.text(REF)?, reader.text(NAME)?);
        let id = self.record(&reference)?.id.clone();
        self.check_name(&name, &id)?;
        self.change(&id, |record| record.semantic_name.clone_from(&name));
        written(Command::SnippetRename, 200, id, json!({"ref": reference, "name": name}))
    }

    fn delete(&mut self, reader: &mut Reader<'_>) -> Answered {
        let (reference, cascade) = (reader.text(REF)?, reader.u8()? == 1);
        let id = self.record(&reference)?.id.clone();
        let is_bonded = |bond: &Bond| bond.parent == id || bond.child == id;
        if !cascade && self.bonds.iter().any(is_bonded) {
            return Err(Error::fail(409, format!("{reference} has bonds")));
        }
        self.bonds.retain(|bond| !is_bonded(bond));
        self.deleted.extend(self.records.remove(&id));
        written(Command::SnippetDelete, 200, id, json!({"ref": reference, "cascade": cascade}))
    }

    fn restore(&mut self, reader: &mut Reader<'_>) -> Answered {
        let flags = reader.u8()?;
        let record = Record::unpack_from(reader)?;
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

    fn bond(&mut self, reader: &mut Reader<'_>) -> Answered {
        let (parent, child) = (reader.text(REF)?, reader.text(REF)?);
        let weight = reader.i32()?;
        let size = usize::from(reader.u16()?);
        let path = reader.text_tail(size)?;
        let (parent_id, child_id) = (self.record(&parent)?.id.clone(), self.record(&child)?.id.clone());
        if self.bonds.iter().any(|bond| bond.parent == parent_id && bond.child == child_id) {
            return Err(Error::fail(409, format!("{parent} and {child} are already bonded")));
        }
        let id = self.next_id();
        let fields = json!({"parent": parent, "child": child, "weight": weight, "path": path});
        self.bonds.push(Bond { parent: parent_id, child: child_id, weight, path });
        let payload = Writer::new().u16(201).text(&id, REF)?.clipped16("").done();
        Ok((payload, Some(Write { command: Command::SchemaBond, id, fields })))
    }

    fn unbond(&mut self, reader: &mut Reader<'_>) -> Answered {
        let (parent, child) = (reader.text(REF)?, reader.text(REF)?);
        let (parent_id, child_id) = (self.record(&parent)?.id.clone(), self.record(&child)?.id.clone());
        let before = self.bonds.len();
        self.bonds.retain(|bond| bond.parent != parent_id || bond.child != child_id);
        if self.bonds.len() == before {
            return Err(Error::fail(404, format!("{child} is not a child of {parent}")));
        }
        done(Command::SchemaUnbond, 200, json!({"parent": parent, "child": child}))
    }

    fn tree(&self, reader: &mut Reader<'_>) -> Answered {
        let (root, depth) = (reader.text(REF)?, reader.u8()?);
        let levels = if depth == 0 { usize::from(u8::MAX) } else { usize::from(depth) };
        let tree = if root.is_empty() {
            let is_child = |id: &str| self.bonds.iter().any(|bond| bond.child == id);
            let roots = self.records.values().filter(|record| !is_child(&record.id));
            Value::Array(roots.map(|record| self.node(record, 0, "", levels)).collect())
        } else {
            self.node(self.record(&root)?, 0, "", levels)
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

    fn define(&mut self, reader: &mut Reader<'_>) -> Answered {
        let name = reader.text(NAME)?;
        let definition = Value::Object(object(json_tail(reader)?)?);
        let is_new = self.types.insert(name.clone(), strict_json::text(&definition)).is_none();
        let status = if is_new { 201 } else { 200 };
        done(Command::RegistryDefine, status, json!({"name": name, "definition": definition}))
    }

    fn definition(&self, reader: &mut Reader<'_>) -> Answered {
        let name = reader.text(NAME)?;
        let definition = self.types.get(&name).ok_or_else(|| no_type(&name))?;
        Ok((Writer::new().u16(200).text(&name, NAME)?.tail32(definition)?.done(), None))
    }

    fn definitions(&self) -> Answered {
        let mut writer = Writer::new().u16(200).u32(self.types.len() as u32);
        for (name, definition) in &self.types {
            writer = writer.text(name, NAME)?.tail32(definition)?;
        }
        Ok((writer.done(), None))
    }

    fn undefine(&mut self, reader: &mut Reader<'_>) -> Answered {
        let name = reader.text(NAME)?;
        if self.records.values().any(|record| record.snippet_type == name) {
            return Err(Error::fail(409, format!("type {name:?} has snippets")));
        }
        self.types.remove(&name).ok_or_else(|| no_type(&name))?;
        done(Command::RegistryDelete, 200, json!({"name": name}))
    }

    // Search

    /// Snippets whose content has all words; the score is the number of occurrences.
    fn search(&self, reader: &mut Reader<'_>) -> Answered {
        let (kind, limit, offset) = (reader.text(NAME)?, reader.u32()? as usize, reader.u32()? as usize);
        let size = usize::from(reader.u16()?);
        let query = reader.text_tail(size)?.to_lowercase();
        let mut hits = Vec::new();
        for record in self.records.values().filter(|record| of_type(record, &kind)) {
            let text = String::from_utf8_lossy(&record.content).to_lowercase();
            let counts: Vec<usize> =
                query.split_whitespace().map(|word| text.matches(word).count()).collect();
            if !counts.is_empty() && counts.iter().all(|count| *count > 0) {
                hits.push((counts.iter().sum::<usize>(), record));
            }
        }
        hits.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
        let total = hits.len() as u32;
        let page: Vec<_> =
            hits.into_iter().skip(offset).take(if limit == 0 { usize::MAX } else { limit }).collect();
        let mut writer = Writer::new().u16(200).u32(total).u32(page.len() as u32);
        for (score, record) in page {
            writer = writer.text(&record.id, REF)?.text(&record.snippet_type, NAME)?;
            writer = writer.text(&record.semantic_name, NAME)?.f32(score as f32).clipped16("");
        }
        Ok((writer.done(), None))
    }
}

fn pack(record: &Record, writer: Writer) -> Result<Writer, Error> {
    let writer = writer.text(&record.id, REF)?.text(&record.snippet_type, NAME)?;
    let writer = writer.text(&record.semantic_name, NAME)?.u32(record.version);
    writer.u64(record.created_at).u64(record.updated_at).tail32(&record.content)
}

fn written(command: Command, status: u16, id: String, fields: Value) -> Answered {
    let payload = Writer::new().u16(status).text(&id, REF)?.clipped16("").done();
    Ok((payload, Some(Write { command, id, fields })))
}

fn done(command: Command, status: u16, fields: Value) -> Answered {
    let payload = Writer::new().u16(status).clipped16("").done();
    Ok((payload, Some(Write { command, id: String::new(), fields })))
}

fn no_type(name: &str) -> Error {
    Error::fail(404, format!("no type {name:?}"))
}

fn of_type(record: &Record, kind: &str) -> bool {
    kind.is_empty() || record.snippet_type == kind
}

fn json_tail(reader: &mut Reader<'_>) -> Result<Value, Error> {
    let size = reader.len32()?;
    strict_json::parse(reader.tail(size)?)
}

fn object(value: Value) -> Result<Map<String, Value>, Error> {
    match value {
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
