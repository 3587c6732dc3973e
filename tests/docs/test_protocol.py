"""protocol.md names every flag, signal and error, and its bytes are those of the vectors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from reed.errors import ErrorCode
from reed.wire import structs
from reed.wire.codes import Flag, Signal

ROOT = Path(__file__).parents[2]
PROTOCOL = (ROOT / "contrib/docs/reference/protocol.md").read_text(encoding="utf-8")
VECTORS = json.loads((ROOT / "tests/vectors/wire.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("flag", Flag)
def test_every_flag_is_in_the_protocol(flag: Flag) -> None:
    assert f"| 0x{flag:02X} | {flag.name} |" in PROTOCOL


@pytest.mark.parametrize("signal", Signal)
def test_every_signal_is_in_the_protocol(signal: Signal) -> None:
    assert f"| {signal:02X} | {signal.name} |" in PROTOCOL


@pytest.mark.parametrize("name", ErrorCode.__members__)
def test_every_error_is_in_the_protocol(name: str) -> None:
    code, status = VECTORS["constants"]["errors"][name]
    assert f"| {code} | {status} | {name}" in PROTOCOL


def test_the_bytes_in_the_protocol_are_those_of_the_vectors() -> None:
    runs = re.findall(r"^ {4}((?:[0-9a-f]{2} {1,3})+(?:.*)?)$", PROTOCOL, re.MULTILINE)
    stream = "".join("".join(re.findall(r"\b[0-9a-f]{2}\b(?= |$)", before_the_words(run))) for run in runs)
    by_name = {entry["name"]: entry["hex"] for entry in VECTORS["frames"]}
    assert by_name["request"] in stream
    assert by_name["SIGNAL"] in stream


def test_the_example_in_python_finds_the_content() -> None:
    assert f"payload[2 + {structs.RECORD.size}:]" in PROTOCOL


def before_the_words(run: str) -> str:
    """The bytes of a line; in "04 SNIPPET_GET" and the like a word ends them."""
    return re.split(r" {2,}(?=[^ ]*[g-zG-Z\"])|SNIPPET", run)[0]
