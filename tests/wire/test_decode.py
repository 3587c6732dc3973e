"""`reed monitor` decodes the payload of every command, by the records that the command table names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reed.wire.codes import Command, Flag
from reed.wire.decode import decode
from reed.wire.monitor import IN, OUT, Monitored

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "wire.json").read_text(encoding="utf-8"))["payloads"]
LISTS = {"records", "hits", "definitions"}


def payloads(record: str) -> list[tuple[bytes, dict[str, Any]]]:
    """The vectors of a record of the table; of "" an empty payload."""
    name = record.rpartition(".")[2]
    found = [(bytes.fromhex(entry["hex"]), entry["fields"]) for entry in VECTORS if entry["record"] == name]
    return found or [(b"", {})]


def flat(fields: dict[str, Any]) -> set[str]:
    """The names of the fields, and of those of a record inside."""
    names: set[str] = set()
    for name, value in fields.items():
        names |= flat(value) if isinstance(value, dict) and "hex" not in value else {name}
    return names


@pytest.mark.parametrize("command", Command)
def test_requests_are_decoded(command: Command) -> None:
    for payload, fields in payloads(command.request):
        decoded = decode(Monitored(0, IN, 1, "root", command, 0, payload), {})
        assert (decoded.kind, decoded.what, set(decoded.fields)) == ("request", command.name, flat(fields))
        json.dumps(decoded.fields)


@pytest.mark.parametrize("command", [command for command in Command if command.response])
def test_responses_are_decoded(command: Command) -> None:
    for payload, fields in payloads(command.response):
        decoded = decode(Monitored(0, OUT, 1, "root", command, Flag.RESPONSE, payload), {})
        assert (decoded.kind, decoded.what, set(decoded.fields)) == ("response", command.name, flat(fields))
        assert all(decoded.fields[name] == len(fields[name]) for name in LISTS & set(fields))
        json.dumps(decoded.fields)


def test_a_payload_that_does_not_fit_is_shown_as_malformed() -> None:
    decoded = decode(Monitored(0, IN, 1, "root", Command.SNIPPET_DELETE, 0, b"short"), {})
    assert [*decoded.fields] == ["malformed"]


def test_an_unknown_command_is_shown_by_its_id() -> None:
    decoded = decode(Monitored(0, IN, 1, "root", 0x7F, 0, b"abc"), {})
    assert (decoded.what, decoded.fields) == ("0x7F", {"bytes": 3})
