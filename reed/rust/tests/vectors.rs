//! The golden vectors, which every implementation of the protocol must encode and decode in the same way.
//!
//! They are in the project's tests/vectors/wire.json; `REED_VECTORS` names another file. A crate that is shipped without
//! them skips these tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use reed_plugin::wire::codes::{
    Command, ErrorCode, LAST_ACTION_ID, MAGIC, MAX_PAYLOAD, MESSAGE_MAGIC, Signal, VERSION, flags, messages,
};
use reed_plugin::wire::common::{Done, ErrorResponse, JsonResponse, SignalMessage, pack_name, pack_ref};
use reed_plugin::wire::frames::{FrameBuffer, HEADER, encode};
use reed_plugin::wire::message::PluginMessage;
use reed_plugin::wire::plugins::{PluginAnswer, PluginRegister, PluginSend};
use reed_plugin::wire::registry::{Definition, RegistryCheck, RegistryGot, RegistryPage};
use reed_plugin::wire::schema::{SchemaBond, SchemaBonded, SchemaTree, SchemaUnbond};
use reed_plugin::wire::search::{SearchHit, SearchIndexed, SearchPage, SearchQuery};
use reed_plugin::wire::snippets::{
    Record, SnippetCreate, SnippetDelete, SnippetFind, SnippetGot, SnippetList, SnippetPage, SnippetRename,
    SnippetRestore, SnippetUpdate, SnippetWritten,
};
use reed_plugin::{Error, Value, strict_json};

fn vectors() -> Option<Value> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/wire.json");
    let path = std::env::var("REED_VECTORS").unwrap_or_else(|_| beside.to_owned());
    match std::fs::read(&path) {
        Ok(text) => Some(serde_json::from_slice(&text).unwrap()),
        Err(error) => {
            eprintln!("skipped: {path}: {error}; REED_VECTORS can name another file");
            None
        }
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap()
}

fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The fields of a vector.
struct Fields<'a>(&'a Value);

impl Fields<'_> {
    fn text(&self, key: &str) -> String {
        self.0[key].as_str().unwrap_or_else(|| panic!("{key} of {}", self.0)).to_owned()
    }

    fn number<T: TryFrom<i64>>(&self, key: &str) -> T {
        let number = self.0[key].as_i64().unwrap_or_else(|| panic!("{key} of {}", self.0));
        T::try_from(number).unwrap_or_else(|_| panic!("{key} is out of range"))
    }

    /// Text, or `{"hex": …}`.
    fn bytes(&self, key: &str) -> Vec<u8> {
        match &self.0[key] {
            Value::String(text) => text.clone().into_bytes(),
            other => unhex(&other["hex"]),
        }
    }

    fn each<T>(&self, key: &str, make: impl Fn(Fields<'_>) -> T) -> Vec<T> {
        list(self.0, key).iter().map(|each| make(Fields(each))).collect()
    }
}

fn record(f: Fields<'_>) -> Record {
    Record {
        id: f.text("id"),
        snippet_type: f.text("snippet_type"),
        semantic_name: f.text("semantic_name"),
        version: f.number("version"),
        created_at: f.number("created_at"),
        updated_at: f.number("updated_at"),
        content: f.bytes("content"),
    }
}

fn definition(f: Fields<'_>) -> Definition {
    Definition { type_name: f.text("type_name"), definition: f.bytes("definition") }
}

fn hit(f: Fields<'_>) -> SearchHit {
    SearchHit {
        id: f.text("id"),
        snippet_type: f.text("snippet_type"),
        semantic_name: f.text("semantic_name"),
        score: f.0["score"].as_f64().unwrap() as f32,
        excerpt: f.text("excerpt"),
    }
}

/// These bytes are a record with these fields.
macro_rules! both_ways {
    ($bytes:expr, $type:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        let record = $type { $($field: $value),* };
        assert_eq!(packed(record.pack()), $bytes);
        assert_eq!($type::unpack($bytes).unwrap(), record);
    }};
}

trait Packed {
    fn into_result(self) -> Result<Vec<u8>, Error>;
}
impl Packed for Vec<u8> {
    fn into_result(self) -> Result<Vec<u8>, Error> {
        Ok(self)
    }
}
impl Packed for Result<Vec<u8>, Error> {
    fn into_result(self) -> Result<Vec<u8>, Error> {
        self
    }
}
fn packed(bytes: impl Packed) -> Vec<u8> {
    bytes.into_result().unwrap()
}

fn check_payload(kind: &str, f: &Fields<'_>, bytes: &[u8]) {
    let status = || f.number("status");
    match kind {
        "SnippetCreate" => both_ways!(
            bytes,
            SnippetCreate {
                snippet_type: f.text("snippet_type"),
                semantic_name: f.text("semantic_name"),
                content: f.bytes("content"),
            }
        ),
        "SnippetUpdate" => both_ways!(
            bytes,
            SnippetUpdate {
                reference: f.text("ref"),
                if_version: f.number("if_version"),
                patch: f.bytes("patch"),
            }
        ),
        "SnippetDelete" => both_ways!(
            bytes,
            SnippetDelete { reference: f.text("ref"), cascade: f.0["cascade"].as_bool().unwrap() }
        ),
        "SnippetWritten" => both_ways!(
            bytes,
            SnippetWritten { status: status(), snippet_id: f.text("snippet_id"), error: f.text("error") }
        ),
        "SnippetRestore" => {
            both_ways!(
                bytes,
                SnippetRestore { flags: f.number("flags"), record: record(Fields(&f.0["record"])) }
            )
        }
        "RegistryCheck" => both_ways!(
            bytes,
            RegistryCheck {
                type_name: f.text("type_name"),
                after: f.text("after"),
                limit: f.number("limit"),
            }
        ),
        "SnippetGot" => {
            both_ways!(bytes, SnippetGot { status: status(), record: record(Fields(&f.0["record"])) })
        }
        "SnippetList" => both_ways!(
            bytes,
            SnippetList {
                snippet_type: f.text("snippet_type"),
                after: f.text("after"),
                limit: f.number("limit"),
            }
        ),
        "SnippetFind" => both_ways!(
            bytes,
            SnippetFind {
                snippet_type: f.text("snippet_type"),
                after: f.text("after"),
                limit: f.number("limit"),
                conditions: f.bytes("conditions"),
            }
        ),
        "SnippetRename" => {
            both_ways!(
                bytes,
                SnippetRename { reference: f.text("ref"), semantic_name: f.text("semantic_name") }
            )
        }
        "SnippetPage" => both_ways!(
            bytes,
            SnippetPage { status: status(), cursor: f.text("cursor"), records: f.each("records", record) }
        ),
        "SchemaBond" => both_ways!(
            bytes,
            SchemaBond {
                parent: f.text("parent"),
                child: f.text("child"),
                weight: f.number("weight"),
                path: f.text("path"),
            }
        ),
        "SchemaBonded" => both_ways!(
            bytes,
            SchemaBonded { status: status(), bond_id: f.text("bond_id"), error: f.text("error") }
        ),
        "SchemaUnbond" => {
            both_ways!(bytes, SchemaUnbond { parent: f.text("parent"), child: f.text("child") })
        }
        "SchemaTree" => both_ways!(bytes, SchemaTree { root: f.text("root"), depth: f.number("depth") }),
        "Done" => both_ways!(bytes, Done { status: status(), error: f.text("error") }),
        "JsonResponse" => both_ways!(bytes, JsonResponse { status: status(), json: f.bytes("json") }),
        "RegistryDefine" => {
            both_ways!(
                bytes,
                Definition { type_name: f.text("type_name"), definition: f.bytes("definition") }
            )
        }
        "RegistryGot" => both_ways!(
            bytes,
            RegistryGot { status: status(), definition: definition(Fields(&f.0["definition"])) }
        ),
        "RegistryPage" => {
            both_ways!(
                bytes,
                RegistryPage { status: status(), definitions: f.each("definitions", definition) }
            )
        }
        "SearchQuery" => both_ways!(
            bytes,
            SearchQuery {
                snippet_type: f.text("snippet_type"),
                limit: f.number("limit"),
                offset: f.number("offset"),
                query: f.text("query"),
            }
        ),
        "SearchPage" => both_ways!(
            bytes,
            SearchPage { status: status(), total: f.number("total"), hits: f.each("hits", hit) }
        ),
        "SearchIndexed" => {
            both_ways!(bytes, SearchIndexed { status: status(), indexed: f.number("indexed") })
        }
        "PluginRegister" => both_ways!(
            bytes,
            PluginRegister {
                name: f.text("name"),
                version: f.text("version"),
                pid: f.number("pid"),
                manifest: f.bytes("manifest"),
            }
        ),
        "PluginSend" => both_ways!(
            bytes,
            PluginSend { plugin: f.text("plugin"), action: f.text("action"), input: f.bytes("input") }
        ),
        "PluginAnswer" => both_ways!(bytes, PluginAnswer { status: status(), body: f.bytes("body") }),
        "PluginMessage" => both_ways!(
            bytes,
            PluginMessage {
                message_type: f.number("message_type"),
                source: f.text("source_plugin"),
                target: f.text("target_plugin"),
                timestamp: f.number("timestamp"),
                payload: f.bytes("payload"),
            }
        ),
        "SignalMessage" => both_ways!(
            bytes,
            SignalMessage {
                signal_type: f.number("signal_type"),
                timestamp: f.number("timestamp"),
                plugin_name: f.text("plugin_name"),
                data: f.bytes("data"),
            }
        ),
        "ErrorResponse" => both_ways!(
            bytes,
            ErrorResponse {
                status: status(),
                error_code: f.number("error_code"),
                message: f.text("message"),
            }
        ),
        "Name" => {
            assert_eq!(pack_name(&f.text("name")).unwrap(), bytes);
        }
        "Ref" => {
            assert_eq!(pack_ref(&f.text("ref")).unwrap(), bytes);
        }
        "PluginReload" | "PluginRunSchedule" | "SnippetNames" | "ConnectionAssume" | "SnippetWatch"
        | "SnippetChanges" => {} // never sent by a plugin
        other => panic!("the crate has no record {other}"),
    }
}

/// The error of a vector that cannot be decoded; None for what the crate does not decode or check.
fn decode_error(record: &str, bytes: &[u8]) -> Option<Error> {
    Some(match record {
        "frame" => {
            let mut buffer = FrameBuffer::default();
            buffer.feed(bytes);
            buffer.next_frame().unwrap_err()
        }
        "Json" => strict_json::parse(bytes).unwrap_err(),
        "SnippetCreate" => SnippetCreate::unpack(bytes).unwrap_err(),
        "SnippetDelete" => SnippetDelete::unpack(bytes).unwrap_err(),
        "SnippetFind" => SnippetFind::unpack(bytes).unwrap_err(),
        "SnippetRename" => SnippetRename::unpack(bytes).unwrap_err(),
        "SearchQuery" => SearchQuery::unpack(bytes).unwrap_err(),
        "SnippetPage" => SnippetPage::unpack(bytes).unwrap_err(),
        "RegistryPage" => RegistryPage::unpack(bytes).unwrap_err(),
        "SearchPage" => SearchPage::unpack(bytes).unwrap_err(),
        "SignalMessage" => SignalMessage::unpack(bytes).unwrap_err(),
        "ErrorResponse" => ErrorResponse::unpack(bytes).unwrap_err(),
        "PluginMessage" => PluginMessage::unpack(bytes).unwrap_err(),
        "PluginAnswer" => PluginAnswer::unpack(bytes).unwrap_err(),
        "Nothing" | "Name" | "Ref" | "SnippetRestore" | "ConnectionAssume" | "SnippetWatch"
        | "SnippetChanges" => {
            return None;
        }
        other => panic!("the crate has no record {other}"),
    })
}

#[test]
fn payloads_are_encoded_and_decoded() {
    let Some(vectors) = vectors() else { return };
    let payloads = list(&vectors, "payloads");
    assert!(payloads.len() > 50);
    for each in payloads {
        println!("{}", each["name"]); // shown after a failure
        check_payload(each["record"].as_str().unwrap(), &Fields(&each["fields"]), &unhex(&each["hex"]));
    }
}

#[test]
fn frames_are_encoded_and_decoded() {
    let Some(vectors) = vectors() else { return };
    for each in list(&vectors, "frames") {
        println!("{}", each["name"]);
        let (f, bytes) = (Fields(each), unhex(&each["hex"]));
        let (id, flags, payload) = (f.number("command_id"), f.number("flags"), unhex(&each["payload"]));
        assert_eq!(encode(id, &payload, flags).unwrap(), bytes);
        let mut buffer = FrameBuffer::default();
        buffer.feed(&bytes);
        let frame = buffer.next_frame().unwrap().unwrap();
        assert_eq!((frame.command_id, frame.flags, frame.payload), (id, flags, payload));
        assert_eq!(buffer.next_frame().unwrap(), None);
    }
}

#[test]
fn invalid_bytes_are_rejected() {
    let Some(vectors) = vectors() else { return };
    for each in list(&vectors, "bad") {
        println!("{}", each["name"]); // shown after a failure
        let Some(error) = decode_error(each["reads"].as_str().unwrap(), &unhex(&each["hex"])) else {
            continue;
        };
        assert_eq!(u64::from(error.status()), each["status"]);
        assert_eq!(u64::from(error.code()), each["error_code"]);
    }
}

#[test]
fn constants_are_those_of_the_vectors() {
    let Some(vectors) = vectors() else { return };
    let constants = &vectors["constants"];
    assert_eq!(u64::from(MAGIC), constants["magic"]);
    assert_eq!(u64::from(MESSAGE_MAGIC), constants["message_magic"]);
    assert_eq!(u64::from(VERSION), constants["version"]);
    assert_eq!(MAX_PAYLOAD as u64, constants["max_payload"]);
    assert_eq!(HEADER as u64, constants["header_size"]);
    assert!(LAST_ACTION_ID < Command::PluginRegister as u8);
    let commands = constants["commands"].as_object().unwrap();
    assert_eq!(commands.len(), (0..=255).filter_map(Command::from_u8).count());
    for (name, number) in commands {
        let number = u8::try_from(number.as_u64().unwrap()).unwrap();
        let command = Command::from_u8(number).unwrap();
        assert_eq!(format!("{command:?}").to_uppercase(), name.replace('_', ""));
    }
    let named = [
        ("ASYNC", flags::ASYNC),
        ("SIGNAL", flags::SIGNAL),
        ("BROADCAST", flags::BROADCAST),
        ("RESPONSE", flags::RESPONSE),
        ("ERROR", flags::ERROR),
    ];
    same(&constants["flags"], named.map(|(name, flag)| (name, u64::from(flag))));
    let named = [
        ("KEYWORD_OPTIMIZED", messages::KEYWORD_OPTIMIZED),
        ("CONTENT_ANALYZED", messages::CONTENT_ANALYZED),
        ("RESPONSE_ACK", messages::RESPONSE_ACK),
        ("RESPONSE_ERROR", messages::RESPONSE_ERROR),
        ("RESPONSE_DATA", messages::RESPONSE_DATA),
    ];
    same(&constants["messages"], named.map(|(name, message)| (name, u64::from(message))));
    let signals = constants["signals"].as_object().unwrap();
    assert_eq!(signals.len(), (0..=255).filter_map(Signal::from_u8).count());
    for number in signals.values() {
        let number = u8::try_from(number.as_u64().unwrap()).unwrap();
        assert_eq!(Signal::from_u8(number).unwrap() as u8, number);
    }
    assert_eq!(ErrorCode::Internal as u64, constants["errors"]["ERR_INTERNAL"][0]);
    assert_eq!(ErrorCode::ActionNotFound as u64, constants["errors"]["ERR_ACTION_NOT_FOUND"][0]);
}

fn same<const N: usize>(theirs: &Value, ours: [(&str, u64); N]) {
    assert_eq!(theirs.as_object().unwrap().len(), N);
    for (name, number) in ours {
        assert_eq!(theirs[name], number, "{name}");
    }
}
