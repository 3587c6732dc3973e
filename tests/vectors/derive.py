"""Prints wire.json; with `--write` it writes the file.

This script does not import `reed`. Its formats were typed from protocol.md and its constants from reedcms-10.md, so
that an error in reed/wire is found unless the same error was made here.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

COMMANDS = {
    "SNIPPET_CREATE": 0x01, "SNIPPET_UPDATE": 0x02, "SNIPPET_DELETE": 0x03, "SNIPPET_GET": 0x04, "SNIPPET_LIST": 0x05,
    "SNIPPET_WATCH": 0x06, "SNIPPET_FIND": 0x07, "SNIPPET_RESTORE": 0x08, "SNIPPET_RENAME": 0x09, "SNIPPET_NAMES": 0x0A,
    "SCHEMA_BOND": 0x10, "SCHEMA_UNBOND": 0x11, "SCHEMA_TREE": 0x12,
    "REGISTRY_DEFINE": 0x20, "REGISTRY_GET": 0x21, "REGISTRY_LIST": 0x22, "REGISTRY_CHECK": 0x23,
    "REGISTRY_DELETE": 0x24,
    "SEARCH_QUERY": 0x30, "SEARCH_INDEX": 0x31,
    "PLUGIN_REGISTER": 0xF0, "CONNECTION_ASSUME": 0xF1, "PLUGIN_HEALTH": 0xF2, "PLUGIN_SIGNAL": 0xF3,
    "PLUGIN_LIST": 0xF4, "PLUGIN_START": 0xF5, "PLUGIN_STOP": 0xF6, "PLUGIN_SEND": 0xF7,
    "PLUGIN_RELOAD": 0xF8, "SYSTEM_STATS": 0xF9,
    "PLUGIN_RUN_SCHEDULE": 0xFA,
}  # fmt: skip
FLAGS = {"ASYNC": 0x01, "SIGNAL": 0x02, "BROADCAST": 0x04, "RESPONSE": 0x08, "ERROR": 0x10}
SIGNALS = {
    "PLUGIN_READY": 0x01, "PLUGIN_BUSY": 0x02, "PLUGIN_SLEEPING": 0x04, "PLUGIN_ERROR": 0x05,
    "SHUTDOWN_GRACEFUL": 0x10, "RELOAD_CONFIG": 0x12, "HEALTH_CHECK": 0x13, "WAKE_UP": 0x15,
}  # fmt: skip
MESSAGES = {
    "KEYWORD_OPTIMIZED": 0x01, "CONTENT_ANALYZED": 0x02,
    "RESPONSE_ACK": 0xF0, "RESPONSE_ERROR": 0xF1, "RESPONSE_DATA": 0xF2,
}  # fmt: skip
ERRORS = {  # name: [error_code, status]
    "ERR_PLUGIN_NOT_FOUND": [10001, 404], "ERR_PLUGIN_OFFLINE": [10002, 503], "ERR_PLUGIN_TIMEOUT": [10003, 504],
    "ERR_PERMISSION_DENIED": [10004, 403], "ERR_PLUGIN_CRASHED": [10005, 502], "ERR_PLUGIN_BUSY": [10006, 429],
    "ERR_ACTION_NOT_FOUND": [10007, 404], "ERR_MALFORMED": [20001, 400], "ERR_VERSION": [20002, 505],
    "ERR_UNKNOWN_COMMAND": [20003, 501], "ERR_TOO_LARGE": [20004, 413], "ERR_NOT_FOUND": [30001, 404],
    "ERR_CONFLICT": [30002, 409], "ERR_INVALID": [30003, 422], "ERR_CURSOR_TOO_OLD": [30004, 410],
    "ERR_SLOW_READER": [30005, 429], "ERR_STORE_FULL": [40001, 507],
    "ERR_STORE": [40002, 500], "ERR_JOB_TIMEOUT": [40003, 504],
    "ERR_JOB_MEMORY": [40004, 503], "ERR_JOB_KILLED": [40005, 503],
    "ERR_STORE_UNAVAILABLE": [40006, 503], "ERR_OUTCOME_UNKNOWN": [40007, 504], "ERR_INTERNAL": [50000, 500],
    "ERR_RESTARTING": [50001, 503],
}  # fmt: skip
PERMISSIONS = [
    "snippet_read", "snippet_write", "snippet_restore",
    "schema_read", "schema_write", "registry_read", "registry_write",
    "search_read", "search_write", "system_stats", "file_write", "plugin_send",
]  # fmt: skip

ID = "0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b"
OTHER = "0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5c"
WHEN = 1_700_000_000_123_456  # Unix microseconds
LATER = 1_700_000_060_000_001
RECORD = "<36s32s32sIQQI"
HIT = "<36s32s32sfH"
DEFINITION = "<32sI"
CHANGE = "<16s36s32s32sIQ32s36s32s"

# Entries are: record, name, format, fields in the order of the format but for the length of the tail, which comes last,
# and the name of the tail's field, or None.
Fields = dict[str, Any]


def raw(value: Any) -> bytes:
    """The bytes of a tail, which is text or {"hex": …}."""
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value.encode()


def pack(layout: str, fields: Fields, tail: str | None = None) -> bytes:
    """The struct, with the length of the tail as its last field, and the tail."""
    values = [value.encode() if isinstance(value, str) else value for key, value in fields.items() if key != tail]
    if tail is None:
        return struct.pack(layout, *values)
    return struct.pack(layout, *values, len(raw(fields[tail]))) + raw(fields[tail])


def frame(command: int, flags: int, payload: bytes) -> bytes:
    return b"DEER" + bytes([1, command, flags, 0]) + len(payload).to_bytes(4, "little") + payload


def simple() -> list[tuple[str, str, str, Fields, str | None]]:
    """Payloads of one struct and perhaps a tail."""
    content = '{"title":"Grüße","draft":false}'
    written = "<H36sH"
    return [
        ("SnippetCreate", "create, with a name", "<32s32sI",
         {"snippet_type": "page", "semantic_name": "blog/intro", "content": content}, "content"),
        ("SnippetCreate", "create, without a name, empty object", "<32s32sI",
         {"snippet_type": "page", "semantic_name": "", "content": "{}"}, "content"),
        ("SnippetCreate", "create, names of full length", "<32s32sI",
         {"snippet_type": "t" * 31, "semantic_name": "N" * 31, "content": "{}"}, "content"),
        ("SnippetUpdate", "update by id, any version", "<36sII",
         {"ref": ID, "if_version": 0, "patch": '{"draft":null}'}, "patch"),
        ("SnippetUpdate", "update by name, if version 7", "<36sII",
         {"ref": "blog/intro", "if_version": 7, "patch": '{"title":"Hi"}'}, "patch"),
        ("SnippetDelete", "delete, bonds stay in the way", "<36sB", {"ref": ID, "cascade": False}, None),
        ("SnippetDelete", "delete with its bonds", "<36sB", {"ref": "blog/intro", "cascade": True}, None),
        ("SnippetWritten", "created", written, {"status": 201, "snippet_id": ID, "error": ""}, "error"),
        ("SnippetWritten", "not created: name in use", written,
         {"status": 409, "snippet_id": "", "error": "the name blog/intro is in use"}, "error"),
        ("SnippetList", "list everything from the start", "<32s36sI",
         {"snippet_type": "", "after": "", "limit": 0}, None),
        ("SnippetList", "list one type after an id", "<32s36sI",
         {"snippet_type": "page", "after": ID, "limit": 1000}, None),
        ("SnippetFind", "find by one field", "<32s36sII",
         {"snippet_type": "page", "after": "", "limit": 1, "conditions": '{"path":"blog/grüße"}'}, "conditions"),
        ("SnippetFind", "find by two fields, after an id", "<32s36sII",
         {"snippet_type": "page", "after": ID, "limit": 1000, "conditions": '{"draft":false,"weight":10}'},
         "conditions"),
        ("SnippetRename", "rename", "<36s32s", {"ref": ID, "semantic_name": "blog/intro"}, None),
        ("SnippetRename", "take the name away", "<36s32s", {"ref": "blog/intro", "semantic_name": ""}, None),
        ("SnippetNames", "names that begin so", "<32sI", {"prefix": "blog/", "limit": 20}, None),
        ("RegistryCheck", "check a type from the start", "<32s36sI",
         {"type_name": "page", "after": "", "limit": 0}, None),
        ("RegistryCheck", "check the next ten", "<32s36sI", {"type_name": "page", "after": ID, "limit": 10}, None),
        ("SnippetWritten", "restored, with a warning", written,
         {"status": 204, "snippet_id": ID, "error": "the content does not fit its type"}, "error"),
        ("SchemaBond", "bond with weight and path", "<36s36siH",
         {"parent": "blog", "child": ID, "weight": -5, "path": "/blog/intro"}, "path"),
        ("SchemaBond", "bond, no path", "<36s36siH",
         {"parent": ID, "child": OTHER, "weight": 2147483647, "path": ""}, "path"),
        ("SchemaBonded", "bonded", written, {"status": 201, "bond_id": OTHER, "error": ""}, "error"),
        ("SchemaUnbond", "unbond", "<36s36s", {"parent": "blog", "child": ID}, None),
        ("Done", "done", "<HH", {"status": 200, "error": ""}, "error"),
        ("Done", "a new type defined", "<HH", {"status": 201, "error": ""}, "error"),
        ("SchemaTree", "all roots, all the way down", "<36sB", {"root": "", "depth": 0}, None),
        ("SchemaTree", "one root, two levels", "<36sB", {"root": "blog", "depth": 2}, None),
        ("JsonResponse", "a tree", "<HI", {"status": 200, "json": "[]"}, "json"),
        ("RegistryDefine", "define a type", "<32sI",
         {"type_name": "page", "definition": '{"schema":{"type":"object"}}'}, "definition"),
        ("Name", "one name: GET, START, STOP, HEALTH", "<32s", {"name": "simple-seo"}, None),
        ("Name", "no name: HEALTH of every plugin", "<32s", {"name": ""}, None),
        ("Ref", "an id fills its field, with no NUL", "<36s", {"ref": ID}, None),
        ("Ref", "a name is zero-filled", "<36s", {"ref": "blog/intro"}, None),
        ("Ref", "none: SEARCH_INDEX of everything", "<36s", {"ref": ""}, None),
        ("SearchQuery", "search all types", "<32sIIH",
         {"snippet_type": "", "limit": 0, "offset": 0, "query": 'über "exact words" pre'}, "query"),
        ("SearchQuery", "search one type, second page", "<32sIIH",
         {"snippet_type": "page", "limit": 10, "offset": 10, "query": "template"}, "query"),
        ("SearchIndexed", "942 indexed", "<HI", {"status": 200, "indexed": 942}, None),
        ("PluginRegister", "register", "<32s16sII",
         {"name": "simple-seo", "version": "1.2.0", "pid": 4321,
          "manifest": '{"actions":{"validate":{"command_id":1,"input":"snippet"}}}'}, "manifest"),
        ("ConnectionAssume", "become an editor", "<32sH", {"group": "editor", "user": "Anna Grüße"}, "user"),
        ("ConnectionAssume", "the longest user", "<32sH", {"group": "g" * 31, "user": "u" * 64}, "user"),
        ("PluginSend", "send a ref", "<32s32sI",
         {"plugin": "simple-seo", "action": "validate", "input": '"blog/intro"'}, "input"),
        ("PluginSend", "send bytes", "<32s32sI",
         {"plugin": "thumb", "action": "scale", "input": {"hex": "00ff10fe"}}, "input"),
        ("PluginReload", "reload all, with a report", "<32sB", {"plugin_name": "", "report": True}, None),
        ("PluginReload", "reload one, with a report", "<32sB", {"plugin_name": "simple-seo", "report": True}, None),
        ("PluginRunSchedule", "run a schedule", "<32s32s", {"plugin": "backup", "schedule": "nightly"}, None),
        ("SignalMessage", "READY", "<BQ32sH",
         {"signal_type": 0x01, "timestamp": WHEN, "plugin_name": "simple-seo", "data": ""}, "data"),
        ("SignalMessage", "ERROR with data", "<BQ32sH",
         {"signal_type": 0x05, "timestamp": WHEN, "plugin_name": "simple-seo", "data": "main.lua:3: bad"}, "data"),
        ("ErrorResponse", "core or plugin says no", "<HIH",
         {"status": 403, "error_code": 10004, "message": "simple-seo lacks the permission snippet_write"}, "message"),
        ("ErrorResponse", "no text", "<HIH", {"status": 500, "error_code": 50000, "message": ""}, "message"),
    ]  # fmt: skip


def signals() -> list[tuple[str, str, str, Fields, str | None]]:
    return [
        ("SignalMessage", f"signal {name}", "<BQ32sH",
         {"signal_type": number, "timestamp": LATER, "plugin_name": "analytics", "data": ""}, "data")
        for name, number in SIGNALS.items()
    ]  # fmt: skip


def compound() -> list[dict[str, Any]]:
    """Payloads that contain records, hits or definitions, and messages."""
    one: Fields = {"id": ID, "snippet_type": "page", "semantic_name": "blog/intro", "version": 3,
                   "created_at": WHEN, "updated_at": LATER, "content": '{ "title": "kept as it came" }'}  # fmt: skip
    two: Fields = {"id": OTHER, "snippet_type": "page", "semantic_name": "", "version": 1,
                   "created_at": WHEN, "updated_at": WHEN, "content": "{}"}  # fmt: skip
    hit: Fields = {
        "id": ID,
        "snippet_type": "page",
        "semantic_name": "blog/intro",
        "score": 1.5,
        "excerpt": "… Grüße …",
    }
    page: Fields = {"type_name": "page", "definition": '{"schema":{}}'}
    post: Fields = {"type_name": "post", "definition": '{"schema":{},"searchable":{"title":3}}'}
    changed: Fields = {"kind": "snippet.updated", "id": ID, "snippet_type": "page", "semantic_name": "blog/intro",
                       "version": 3, "at": WHEN, "made_by": "simple-seo", "child": "",
                       "cursor": "5f3a9c01-1041"}  # fmt: skip
    bonded: Fields = {"kind": "bonded", "id": ID, "snippet_type": "page", "semantic_name": "blog/intro",
                      "version": 0, "at": LATER, "made_by": "", "child": OTHER, "cursor": "5f3a9c01-1042"}  # fmt: skip
    changes = b"".join(pack(CHANGE, change) for change in (changed, bonded))
    head = struct.pack("<HI32s", 200, 2, b"5f3a9c01-1043") + changes
    got = [pack(RECORD, record, "content") for record in (one, two)]
    found = pack(HIT, hit, "excerpt")
    defined = [pack(DEFINITION, definition, "definition") for definition in (page, post)]
    message: Fields = {"message_type": 0x01, "source_plugin": "ai-core", "target_plugin": "analytics",
                       "timestamp": WHEN, "payload": '{"keywords":["reed"]}'}  # fmt: skip
    answer: Fields = {"message_type": 0xF0, "source_plugin": "analytics", "target_plugin": "ai-core",
                      "timestamp": LATER, "payload": f'{{"in_reply_to":{WHEN}}}'}  # fmt: skip

    def entry(record: str, name: str, layout: str, fields: Fields, data: bytes) -> dict[str, Any]:
        return {"record": record, "name": name, "layout": layout, "fields": fields, "hex": data.hex()}

    def status(number: int) -> bytes:
        return number.to_bytes(2, "little")

    def message_bytes(fields: Fields) -> bytes:
        data = {"magic": 0x504C4D47, "version": 1, **fields}
        return pack("<IBB32s32sQI", data, "payload")

    return [
        entry("SnippetRestore", "restore, all flags", "<B + record", {"flags": 7, "record": one}, b"\x07" + got[0]),
        entry("SnippetRestore", "restore, no flags", "<B + record", {"flags": 0, "record": two}, b"\x00" + got[1]),
        entry("SnippetGot", "one record", "<H + record", {"status": 200, "record": one}, status(200) + got[0]),
        entry("SnippetPage", "two records and a cursor", "<HI36s + records",
              {"status": 200, "cursor": OTHER, "records": [one, two]},
              struct.pack("<HI36s", 200, 2, OTHER.encode()) + b"".join(got)),
        entry("SnippetPage", "the end", "<HI36s + records",
              {"status": 200, "cursor": "", "records": []}, struct.pack("<HI36s", 200, 0, b"")),
        entry("SnippetWatch", "watch from now on, every type", "<32sI + names", {"cursor": "", "types": []}, bytes(36)),
        entry("SnippetWatch", "watch two types from a cursor", "<32sI + names",
              {"cursor": "5f3a9c01-1040", "types": ["page", "note"]},
              struct.pack("<32sI32s32s", b"5f3a9c01-1040", 2, b"page", b"note")),
        entry("SnippetChanges", "an update and a bond", "<HI32s + changes",
              {"status": 200, "cursor": "5f3a9c01-1043", "changes": [changed, bonded]}, head),
        entry("SnippetChanges", "only a cursor", "<HI32s + changes",
              {"status": 200, "cursor": "5f3a9c01-1043", "changes": []},
              struct.pack("<HI32s", 200, 0, b"5f3a9c01-1043")),
        entry("RegistryGot", "one definition", "<H + definition", {"status": 200, "definition": page},
              status(200) + defined[0]),
        entry("RegistryPage", "two definitions", "<HI + definitions", {"status": 200, "definitions": [page, post]},
              struct.pack("<HI", 200, 2) + b"".join(defined)),
        entry("RegistryPage", "none", "<HI + definitions", {"status": 200, "definitions": []},
              struct.pack("<HI", 200, 0)),
        entry("SearchPage", "one hit of twelve", "<HII + hits", {"status": 200, "total": 12, "hits": [hit]},
              struct.pack("<HII", 200, 12, 1) + found),
        entry("SearchPage", "nothing found", "<HII + hits", {"status": 200, "total": 0, "hits": []},
              struct.pack("<HII", 200, 0, 0)),
        entry("PluginAnswer", "JSON", "<H + body", {"status": 200, "body": '{"score":87}'},
              status(200) + b'{"score":87}'),
        entry("PluginAnswer", "bytes", "<H + body", {"status": 200, "body": {"hex": "89504e470d0a1a0a"}},
              status(200) + bytes.fromhex("89504e470d0a1a0a")),
        entry("PluginAnswer", "status alone: PLUGIN_START", "<H + body", {"status": 200, "body": ""}, status(200)),
        entry("PluginMessage", "KEYWORD_OPTIMIZED", "<IBB32s32sQI", message, message_bytes(message)),
        entry("PluginMessage", "ACK", "<IBB32s32sQI", answer, message_bytes(answer)),
    ]  # fmt: skip


def frames(payloads: dict[str, str]) -> list[dict[str, Any]]:
    """A frame for each combination of flags that the protocol uses."""

    def entry(name: str, command: str, flags: list[str], payload: str) -> dict[str, Any]:
        data = bytes.fromhex(payload)
        bits = sum(FLAGS[flag] for flag in flags)
        return {"name": name, "command": command, "command_id": COMMANDS[command], "flags": bits, "flag_names": flags,
                "payload": payload, "hex": frame(COMMANDS[command], bits, data).hex()}  # fmt: skip

    return [
        entry("request with nothing behind the header", "PLUGIN_LIST", [], ""),
        entry("request", "SNIPPET_GET", [], payloads["an id fills its field, with no NUL"]),
        entry("ASYNC: no answer wanted", "SNIPPET_CREATE", ["ASYNC"], payloads["create, with a name"]),
        entry("SIGNAL", "PLUGIN_SIGNAL", ["SIGNAL"], payloads["READY"]),
        entry("SIGNAL to all", "PLUGIN_SIGNAL", ["SIGNAL", "BROADCAST"], payloads["signal HEALTH_CHECK"]),
        entry("BROADCAST: every plugin with that action", "PLUGIN_SEND", ["BROADCAST"], payloads["send a ref"]),
        entry("RESPONSE", "SNIPPET_GET", ["RESPONSE"], payloads["one record"]),
        entry("RESPONSE with what is wrong with the snippet", "SNIPPET_CREATE", ["RESPONSE"],
              payloads["not created: name in use"]),
        entry("ERROR", "SNIPPET_GET", ["RESPONSE", "ERROR"], payloads["core or plugin says no"]),
    ]  # fmt: skip


def bad(payloads: dict[str, str]) -> list[dict[str, Any]]:
    """What must be rejected, with which error, and whether the connection stays open."""
    get = frame(0x04, 0, ID.encode())
    create = bytes.fromhex(payloads["create, with a name"])

    def entry(reads: str, name: str, data: bytes, error: str, connection: str) -> dict[str, Any]:
        code, status = ERRORS[error]
        return {"reads": reads, "name": name, "hex": data.hex(), "error": error, "error_code": code, "status": status,
                "connection": connection}  # fmt: skip

    def closes(name: str, data: bytes, error: str) -> dict[str, Any]:
        return entry("frame", name, data, error, "closed")

    def stays(record: str, name: str, data: bytes) -> dict[str, Any]:
        return entry(record, name, data, "ERR_MALFORMED", "open")

    name, none = b"page".ljust(32, b"\0"), bytes(32)
    found = struct.pack("<36s32s32sf", ID.encode(), b"page", b"", 1.5)
    return [
        closes("magic in the other byte order", b"REED" + get[4:], "ERR_MALFORMED"),
        closes("an HTTP request", b"GET / HTTP/1.1\r\n\r\n", "ERR_MALFORMED"),
        closes("version 0", get[:4] + b"\x00" + get[5:], "ERR_VERSION"),
        closes("version 2", get[:4] + b"\x02" + get[5:], "ERR_VERSION"),
        closes("16 MiB and one byte", get[:8] + (16 * 1024 * 1024 + 1).to_bytes(4, "little"), "ERR_TOO_LARGE"),
        closes("4 GiB less one", get[:8] + b"\xff\xff\xff\xff", "ERR_TOO_LARGE"),
        stays("SnippetCreate", "empty payload", b""),
        stays("SnippetCreate", "one byte short", create[:-1]),
        stays("SnippetCreate", "one byte left over", create + b" "),
        stays("SnippetCreate", "content_len of 4 GiB less one", create[:64] + b"\xff\xff\xff\xff" + create[68:]),
        stays("SnippetCreate", "type without its NUL", b"t" * 32 + none + bytes(4)),
        stays("SnippetCreate", "type is not UTF-8", b"\xff".ljust(32, b"\0") + none + bytes(4)),
        stays("SnippetDelete", "cascade is 2", ID.encode() + b"\x02"),
        stays("SnippetRestore", "no record behind the flags", b"\x00"),
        stays("SnippetRestore", "a flag that there is not",
              b"\x08" + bytes.fromhex(payloads["restore, no flags"])[1:]),
        stays("SnippetRestore", "one byte left over", bytes.fromhex(payloads["restore, no flags"]) + b" "),
        stays("SnippetFind", "conditions cut off", struct.pack("<32s36sII", b"page", b"", 0, 9) + b'{"a":1}'),
        stays("SnippetRename", "without a name", ID.encode()),
        stays("SnippetWatch", "a type is cut off", struct.pack("<32sI", b"", 1) + b"page"),
        stays("SnippetWatch", "65 types", struct.pack("<32sI", b"", 65) + 65 * name),
        stays("SnippetWatch", "one byte left over", struct.pack("<32sI", b"", 0) + b" "),
        stays("SnippetChanges", "a change is missing", struct.pack("<HI32s", 200, 1, b"5f3a9c01-1043")),
        stays("SnippetPage", "a second record is missing", struct.pack("<HI36s", 200, 1, b"")),
        stays("RegistryPage", "a definition cut off", struct.pack("<HI", 200, 1) + name + b"\x05\0\0\0{}"),
        stays("SearchPage", "2**32-1 hits announced", struct.pack("<HII", 200, 1, 0xFFFFFFFF)),
        stays("SearchPage", "an excerpt cut off", struct.pack("<HII", 200, 1, 1) + found + b"\x05\x00abcd"),
        stays("SearchQuery", "query is not UTF-8", none + bytes(8) + b"\x02\x00\xc3\x28"),
        stays("ConnectionAssume", "no user", struct.pack("<32sH", b"editor", 0)),
        stays("ConnectionAssume", "65 bytes of user", struct.pack("<32sH", b"editor", 65) + b"u" * 65),
        stays("ConnectionAssume", "a line break in the user", struct.pack("<32sH", b"editor", 3) + b"a\nb"),
        stays("SignalMessage", "data_len says 1, nothing follows",
              struct.pack("<BQ32sH", 0x13, WHEN, b"analytics", 1)),
        stays("ErrorResponse", "text is not UTF-8", struct.pack("<HIH", 500, 50000, 1) + b"\x80"),
        stays("PluginMessage", "foreign magic", struct.pack("<IBB32s32sQI", 0x52454544, 1, 1, b"a", b"b", WHEN, 0)),
        stays("PluginMessage", "version 2", struct.pack("<IBB32s32sQI", 0x504C4D47, 2, 1, b"a", b"b", WHEN, 0)),
        stays("PluginAnswer", "not even a status", b"\xc8"),
        stays("Name", "31 bytes", bytes(31)),
        stays("Ref", "37 bytes", bytes(37)),
        stays("Nothing", "a payload where none belongs", b"{}"),
        *(stays("Json", title, text.encode("utf-8", "surrogatepass")) for title, text in BAD_JSON.items()),
        stays("Json", "UTF-16", '{"a":1}'.encode("utf-16-le")),
    ]  # fmt: skip


BAD_JSON = {
    "NaN": "[NaN]",
    "Infinity": "[-Infinity]",
    "a number out of range": "[1e999]",
    "duplicate keys": '{"a":1,"a":2}',
    "a lone surrogate, escaped": '["\\ud800"]',
    "a lone surrogate, as bytes": '["\ud800"]',
    "nested 65 deep": "[" * 65 + "]" * 65,
    "a byte order mark": "\ufeff{}",
    "a trailing comma": "[1,]",
    "single quotes": "{'a':1}",
    "a control character in a string": '["\t"]',
    "text after the value": "{} {}",
    "nothing": "",
}


def vectors() -> dict[str, Any]:
    payloads = [
        {"record": record, "name": name, "layout": layout, "fields": fields, "hex": pack(layout, fields, tail).hex()}
        for record, name, layout, fields, tail in simple() + signals()
    ] + compound()
    by_name = {entry["name"]: entry["hex"] for entry in payloads}
    return {
        "about": "Golden vectors of the ReedCMS wire, version 1. See README.md beside this file.",
        "constants": {"magic": 0x52454544, "message_magic": 0x504C4D47, "version": 1, "max_payload": 16777216,
                      "header_size": 12, "commands": COMMANDS, "flags": FLAGS, "signals": SIGNALS,
                      "messages": MESSAGES, "errors": ERRORS, "permissions": PERMISSIONS},
        "frames": frames(by_name),
        "payloads": payloads,
        "bad": bad(by_name),
    }  # fmt: skip


def text() -> str:
    return json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    if "--write" in sys.argv:
        (HERE / "wire.json").write_text(text(), encoding="utf-8")
    else:
        sys.stdout.write(text())
