"""Records round-trip; what does not fit a struct is Malformed when packed and when unpacked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reed.errors import CallError, Malformed
from reed.wire import structs
from reed.wire.codes import Command
from reed.wire.commands import record_of
from reed.wire.common import Done, ErrorResponse, JsonResponse
from reed.wire.plugins import PluginAnswer, PluginMessage, PluginRegister, PluginReload, PluginRunSchedule, PluginSend
from reed.wire.registry import Definition, RegistryCheck, RegistryDefine, RegistryGot, RegistryPage
from reed.wire.requests import ConnectionAssume, Name, Ref, SignalMessage
from reed.wire.schema import SchemaBond, SchemaBonded, SchemaTree, SchemaUnbond
from reed.wire.search import SearchHit, SearchIndexed, SearchPage, SearchQuery
from reed.wire.snippets import (
    Record,
    SnippetCreate,
    SnippetDelete,
    SnippetFind,
    SnippetGot,
    SnippetList,
    SnippetNames,
    SnippetPage,
    SnippetRename,
    SnippetRestore,
    SnippetUpdate,
    SnippetWritten,
)
from reed.wire.watch import MAX_TYPES, Change, SnippetChanges, SnippetWatch


def short_text(room: int) -> st.SearchStrategy[str]:
    """Any text without NUL that fits `room` bytes."""
    characters = st.characters(exclude_characters="\0", exclude_categories=("Cs",))
    return st.text(characters, max_size=room).filter(lambda text: len(text.encode()) <= room)


NAME, REF, VERSION = short_text(31), short_text(36), short_text(15)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
USER = short_text(64).map(str.strip).filter(lambda user: user and user.isprintable())
TAIL = st.binary(max_size=60)
U8, U16, U32, U64 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64))
FLOAT = st.floats(width=32, allow_nan=False)

RECORD = st.builds(Record, REF, NAME, NAME, U32, U64, U64, TAIL)
HIT = st.builds(SearchHit, REF, NAME, NAME, FLOAT, TEXT)
DEFINITION = st.builds(Definition, NAME, TAIL)
CHANGE = st.builds(Change, VERSION, REF, NAME, NAME, U32, U64, NAME, REF, NAME)
FIELDS: dict[Any, tuple[st.SearchStrategy[Any], ...]] = {
    ConnectionAssume: (USER, NAME),
    Done: (U16, TEXT),
    ErrorResponse: (U16, U32, TEXT),
    JsonResponse: (U16, TAIL),
    Name: (NAME,),
    PluginAnswer: (U16, TAIL),
    PluginMessage: (U8, NAME, NAME, U64, TAIL),
    PluginRegister: (NAME, VERSION, U32, TAIL),
    PluginReload: (NAME, st.just(True)),
    PluginRunSchedule: (NAME, NAME),
    PluginSend: (NAME, NAME, TAIL),
    Ref: (REF,),
    RegistryCheck: (NAME, REF, U32),
    RegistryDefine: (NAME, TAIL),
    RegistryGot: (U16, DEFINITION),
    RegistryPage: (U16, st.lists(DEFINITION, max_size=3)),
    SchemaBond: (REF, REF, st.integers(-(1 << 31), (1 << 31) - 1), TEXT),
    SchemaBonded: (U16, REF, TEXT),
    SchemaTree: (REF, U8),
    SchemaUnbond: (REF, REF),
    SearchIndexed: (U16, U32),
    SearchPage: (U16, U32, st.lists(HIT, max_size=3)),
    SearchQuery: (TEXT, NAME, U32, U32),
    SignalMessage: (U8, U64, NAME, TAIL),
    SnippetChanges: (U16, NAME, st.lists(CHANGE, max_size=3)),
    SnippetCreate: (NAME, NAME, TAIL),
    SnippetDelete: (REF, st.booleans()),
    SnippetFind: (NAME, TAIL, REF, U32),
    SnippetGot: (U16, RECORD),
    SnippetList: (NAME, REF, U32),
    SnippetNames: (NAME, U32),
    SnippetPage: (U16, REF, st.lists(RECORD, max_size=3)),
    SnippetRename: (REF, NAME),
    SnippetRestore: (st.integers(0, 7), RECORD),
    SnippetUpdate: (REF, U32, TAIL),
    SnippetWatch: (NAME, st.lists(NAME, max_size=MAX_TYPES).map(tuple)),
    SnippetWritten: (U16, REF, TEXT),
}
EVERY_RECORD: st.SearchStrategy[Any] = st.one_of(*(st.builds(record, *fields) for record, fields in FIELDS.items()))


def test_every_record_of_the_table_is_tested() -> None:
    names = {name for command in Command for name in (command.request, command.response) if name}
    assert {record_of(name) for name in names} | {ErrorResponse, PluginMessage} == set(FIELDS)


@given(EVERY_RECORD)
def test_a_record_round_trips(record: Any) -> None:
    data = record.pack()
    assert type(record).unpack(data) == record
    assert type(record).unpack(memoryview(bytearray(data))).pack() == data


@given(EVERY_RECORD, st.data())
def test_a_truncated_record_and_trailing_bytes_are_malformed(record: Any, data: st.DataObject) -> None:
    payload = record.pack()
    if isinstance(record, PluginAnswer):
        payload = payload[:2]  # its body is the rest of the payload
    end = data.draw(st.integers(0, len(payload) - 1))
    assume(not (isinstance(record, PluginReload) and end in (0, 32)))  # its shorter forms
    with pytest.raises(Malformed):
        type(record).unpack(payload[:end])
    if not isinstance(record, PluginAnswer):
        with pytest.raises(Malformed):
            type(record).unpack(payload + data.draw(st.binary(min_size=1, max_size=9)))


@given(EVERY_RECORD, st.data())
def test_a_mutated_record_is_read_or_malformed(record: Any, data: st.DataObject) -> None:
    payload = bytearray(record.pack())
    for at in data.draw(st.lists(st.integers(0, len(payload) - 1), min_size=1, max_size=4)):
        payload[at] = data.draw(U8)
    read_or_malformed(type(record), bytes(payload))


@given(st.sampled_from([*FIELDS]), st.binary(max_size=400))
def test_random_bytes_are_read_or_malformed(kind: Any, payload: bytes) -> None:
    read_or_malformed(kind, payload)


def read_or_malformed(kind: Any, payload: bytes) -> None:
    try:
        record = kind.unpack(payload)
    except Malformed:
        return
    assert kind.unpack(record.pack())[:1] == record[:1]  # what was unpacked can be packed


@given(NAME, REF)
def test_names_and_refs_end_at_the_first_nul(name: str, ref: str) -> None:
    assert Name.unpack(structs.pack_text(name, 32)).name == name
    assert Ref.unpack(structs.pack_text(ref, 36)).ref == ref
    padded = name.encode() + b"\0" + b"\xff" * (31 - len(name.encode()))
    assert Name.unpack(padded).name == name


@pytest.mark.parametrize(
    "record",
    [
        SnippetCreate("t" * 32, "", b"{}"),
        SnippetCreate("page", "a\0b", b"{}"),
        SnippetCreate("page", "\ud800", b"{}"),
        SnippetUpdate("r" * 37, 0, b"{}"),
        SnippetUpdate("intro", -1, b"{}"),
        SnippetUpdate("intro", 1 << 32, b"{}"),
        SnippetList("page", "", -1),
        SnippetFind("page", b"{}", "", -1),
        SnippetRename("intro", "N" * 32),
        SchemaBond("a", "b", 1 << 31),
        SchemaBond("a", "b", -(1 << 31) - 1),
        SchemaBond("a", "b", 0, "p" * 65536),
        SchemaBond("a", "b", 0, "\udcff"),
        SchemaTree("a", 256),
        SearchQuery("q" * 65536),
        SearchQuery("\udcff"),
        SearchQuery("q", limit=-1),
        SearchPage(65536, 0, []),
        PluginRegister("p", "1.0.0-" + "x" * 10, 1, b"{}"),
        PluginRegister("p", "1.0.0", -1, b"{}"),
        PluginAnswer(70_000, b""),
        ConnectionAssume("", "editor"),
        ConnectionAssume("u" * 65, "editor"),
        ConnectionAssume(" anna", "editor"),
        ConnectionAssume("anna\nroot", "editor"),
        ConnectionAssume("anna\u202e", "editor"),
        ConnectionAssume("anna", "g" * 32),
        SignalMessage(256, 0, "p"),
        SignalMessage(1, -1, "p"),
        SignalMessage(1, 0, "p", b"d" * 65536),
        PluginMessage(1, "a", "b", 1 << 64, b"{}"),
        ErrorResponse(-1, 0, ""),
        JsonResponse(-1, b""),
        RegistryPage(-1, []),
    ],
    ids=lambda record: f"{record!r:.60}",
)
def test_values_that_do_not_fit_their_struct_are_malformed(record: Any) -> None:
    with pytest.raises(Malformed) as caught:
        record.pack()
    assert str(caught.value)


def test_error_texts_and_excerpts_are_cut_between_two_characters() -> None:
    long = "ü" * 40_000
    for record in (ErrorResponse(500, 50000, long), Done(500, long), SnippetWritten(422, "", long)):
        back = type(record).unpack(record.pack())  # type: ignore[attr-defined]
        assert back[-1] == "ü" * 32_767
    page = SearchPage(200, 1, [SearchHit("i", "t", "n", 0.5, long)])
    assert SearchPage.unpack(page.pack()).hits[0].excerpt == "ü" * 32_767
    assert ErrorResponse(500, 50000, "\udcff").pack().endswith(b"?")  # an undecodable byte in a text of the system


def test_a_tail_is_a_view_not_a_copy() -> None:
    payload = bytearray(SnippetCreate("page", "intro", b'{"a":1}').pack())
    content = SnippetCreate.unpack(payload).content
    assert isinstance(content, memoryview)
    assert content.obj is payload


def test_an_error_response_carries_the_hint() -> None:
    error = CallError("no", hint="do this", status=418, error_code=9)
    assert ErrorResponse.of(error) == (418, 9, "no; do this")
    assert (CallError("no").status, CallError("no").error_code) == (500, 50000)
