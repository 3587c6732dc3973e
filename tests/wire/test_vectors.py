"""reed.wire encodes and decodes the golden vectors, and derive.py and the examples laid out by hand agree with them."""

from __future__ import annotations

import json
import re
import runpy
import struct
from pathlib import Path
from typing import Any

import pytest

from reed import errors
from reed.wire import (
    codes,
    common,
    frames,
    plugins,
    registry,
    requests,
    schema,
    search,
    snippets,
    strict_json,
    structs,
    watch,
)

FOLDER = Path(__file__).parent.parent / "vectors"
VECTORS = json.loads((FOLDER / "wire.json").read_text(encoding="utf-8"))
PAYLOADS = {entry["name"]: entry for entry in VECTORS["payloads"]}
RECORDS = {
    name: cls
    for module in (common, plugins, registry, requests, schema, search, snippets, watch)
    for name, cls in vars(module).items()
    if isinstance(cls, type) and hasattr(cls, "pack")
}
TAILS = {"content", "conditions", "patch", "data", "json", "definition", "manifest", "input", "body", "payload"}
LISTS = {
    "changes": watch.Change,
    "records": snippets.Record,
    "hits": search.SearchHit,
    "definitions": registry.Definition,
}
HAND_MADE = {  # the examples of README.md, in their order
    "request": "frame",
    "READY": "payload",
    "delete with its bonds": "payload",
    "no text": "payload",
    "nothing found": "payload",
    "bond with weight and path": "payload",
}


def ids(entry: dict[str, Any]) -> str:
    return f"{entry.get('record') or entry.get('reads') or 'frame'}: {entry['name']}"


def value(key: str, given: Any) -> Any:
    """The value of a record's field for the value of a vector's field."""
    if key in LISTS:
        return [build(LISTS[key], fields) for fields in given]
    if isinstance(given, dict):
        if "hex" in given:
            return bytes.fromhex(given["hex"])
        return build({"record": snippets.Record, "definition": registry.Definition}[key], given)
    if key == "types":
        return tuple(given)
    return given.encode() if key in TAILS else given


def build(cls: Any, fields: dict[str, Any]) -> Any:
    return cls(**{key: value(key, given) for key, given in fields.items()})


def unpack(name: str, data: bytes) -> Any:
    if name == "frame":
        return next_frame(data)
    if name == "Json":
        return strict_json.loads(data)
    if name == "Nothing":
        return structs.nothing_left(data, "PLUGIN_LIST")
    return RECORDS[name].unpack(data)


def next_frame(data: bytes) -> frames.Frame | None:
    buffer = frames.ReceiveBuffer()
    buffer.feed(memoryview(data))
    return buffer.next_frame()


@pytest.mark.parametrize("entry", VECTORS["payloads"], ids=ids)
def test_a_payload_is_encoded_and_decoded(entry: dict[str, Any]) -> None:
    data = bytes.fromhex(entry["hex"])
    expected = build(RECORDS[entry["record"]], entry["fields"])
    assert expected.pack() == data
    assert unpack(entry["record"], data) == expected


@pytest.mark.parametrize("entry", VECTORS["frames"], ids=ids)
def test_a_frame_is_encoded_and_decoded(entry: dict[str, Any]) -> None:
    data, payload = bytes.fromhex(entry["hex"]), bytes.fromhex(entry["payload"])
    flags = sum(codes.Flag[name] for name in entry["flag_names"])
    assert flags == entry["flags"]
    assert codes.Command[entry["command"]] == entry["command_id"]
    assert frames.encode(entry["command_id"], payload, flags) == data
    assert frames.header(entry["command_id"], len(payload), flags) + payload == data
    assert next_frame(data) == (entry["command_id"], flags, payload)
    assert frames.is_response(flags) == ("RESPONSE" in entry["flag_names"])


@pytest.mark.parametrize("entry", VECTORS["bad"], ids=ids)
def test_a_bad_payload_or_frame_is_rejected_with_its_error(entry: dict[str, Any]) -> None:
    data = bytes.fromhex(entry["hex"])
    with pytest.raises(errors.CallError) as caught:
        unpack(entry["reads"], data)
    assert errors.ErrorCode[entry["error"]] == entry["error_code"] == caught.value.error_code
    assert caught.value.status == entry["status"]
    answer = common.ErrorResponse.unpack(common.ErrorResponse.of(caught.value).pack())
    assert answer == (entry["status"], entry["error_code"], str(caught.value))


def test_constants_equal_those_of_the_vectors() -> None:
    constants = VECTORS["constants"]
    assert {member.name: member.value for member in codes.Command} == constants["commands"]
    assert {member.name: member.value for member in codes.Flag} == constants["flags"]
    assert {member.name: member.value for member in codes.Signal} == constants["signals"]
    assert {member.name: member.value for member in codes.MessageType} == constants["messages"]
    assert {member.name: member.value for member in errors.ErrorCode} == {
        name: code for name, (code, _) in constants["errors"].items()
    }
    assert sorted(codes.Permission) == sorted(constants["permissions"])
    assert constants["magic"] == codes.MAGIC
    assert constants["message_magic"] == codes.MESSAGE_MAGIC
    assert constants["version"] == codes.VERSION
    assert [structs.HEADER.size, frames.MAX_PAYLOAD] == [constants["header_size"], constants["max_payload"]]


def test_every_error_class_has_its_status_and_code() -> None:
    classes = {cls.error_code: cls.status for cls in errors.CallError.__subclasses__()}
    assert classes == dict(VECTORS["constants"]["errors"].values())


def test_every_record_has_a_vector() -> None:
    parts_of_others = {"Change", "Record", "SearchHit", "Definition"}
    assert set(RECORDS) - parts_of_others <= {entry["record"] for entry in VECTORS["payloads"]}


def test_wire_json_is_the_output_of_derive() -> None:
    derived = runpy.run_path(str(FOLDER / "derive.py"))
    assert (FOLDER / "wire.json").read_text(encoding="utf-8") == derived["text"](), "run derive.py --write"


def test_structs_have_the_sizes_of_reedcms_10() -> None:
    layout_of = {entry["record"]: entry["layout"] for entry in VECTORS["payloads"]}
    sizes = {name: struct.calcsize(layout) for name, layout in layout_of.items() if " + " not in layout}
    assert sizes["SnippetCreate"] == structs.SNIPPET_CREATE.size == 68
    assert sizes["SnippetWritten"] == structs.SNIPPET_WRITTEN.size == 40
    assert sizes["SignalMessage"] == structs.SIGNAL_MESSAGE.size == 43
    assert sizes["PluginMessage"] == structs.PLUGIN_MESSAGE.size == 82
    assert sizes["ErrorResponse"] == structs.ERROR_RESPONSE.size == 8


def test_the_examples_laid_out_by_hand_equal_the_vectors() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8").split("## By hand")[1]
    blocks = re.findall(r"(?:^ {4}\S.*\n)+", text, re.MULTILINE)
    assert len(blocks) == len(HAND_MADE)
    frame_of = {entry["name"]: entry for entry in VECTORS["frames"]}
    for block, (name, kind) in zip(blocks, HAND_MADE.items(), strict=True):
        by_hand = "".join(re.findall(r"^ {4}((?:[0-9a-f]{2} )*[0-9a-f]{2})(?: {2,}|$)", block, re.MULTILINE))
        entry = frame_of[name] if kind == "frame" else PAYLOADS[name]
        assert by_hand.replace(" ", "") == entry["hex"], name
