"""Output on a terminal, into a pipe, and as JSON."""

from __future__ import annotations

import io
import json
import re
import sys
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from reed.cli.output import Column, JsonText, Output, clip, pad, width
from reed.figures import duration, size
from reed.text import safe, safe_lines

from .conftest import on_a_terminal

ANY = st.text(st.characters(codec=None), max_size=60)


class Terminal(io.StringIO):
    """A terminal of unknown width."""

    def isatty(self):
        return True

    def fileno(self):
        raise OSError


@given(ANY)
def test_only_printable_characters_reach_a_terminal(text):
    assert safe(text).isprintable()
    assert all(line.isprintable() for line in safe_lines(text).split("\n"))
    assert safe_lines(text).count("\n") == text.count("\n")


def test_escape_sequences_are_printed_as_text():
    assert safe("\x1b[2J\x07\x9b31m\u202e") == "\\x1b[2J\\x07\\x9b31m\\u202e"


@given(ANY, st.integers(1, 30))
def test_clipped_text_fits(text, room):
    text = safe(text)
    assert width(clip(text, room)) <= room
    assert width(pad(clip(text, room), room)) == room


def test_wide_characters_take_two_columns_and_combining_marks_none():
    assert width("日本") == 4
    assert width(unicodedata.normalize("NFD", "é")) == 1


@given(st.lists(st.tuples(ANY, st.integers(), st.none() | st.booleans()), max_size=5))
def test_a_pipe_gets_a_line_per_row_and_a_cell_per_column(rows):
    stream = io.StringIO(newline="\n")
    columns = (Column("A", "a"), Column("B", "b.c"), Column("D", "d"))
    Output(stream).table(columns, [{"a": a, "b": {"c": b}, "d": d} for a, b, d in rows])
    lines = stream.getvalue().split("\n")[:-1]
    assert len(lines) == len(rows)
    for line, (text, number, flag) in zip(lines, rows, strict=True):
        cell, other, last = line.split("\t")
        for escape, char in (("\\\\", "\0"), ("\\t", "\t"), ("\\n", "\n"), ("\\r", "\r"), ("\0", "\\")):
            cell = cell.replace(escape, char)
        assert cell == text or "\0" in text
        assert other == str(number)
        assert last == {None: "", True: "yes", False: "no"}[flag]


def test_json_texts_stay_json_in_a_pipe():
    stream = io.StringIO()
    Output(stream).rows([["x", JsonText('{"a":\n\t"b\\n\\\\c"}')]])
    assert json.loads(stream.getvalue().split("\t")[1]) == {"a": "b\n\\c"}


def test_json_has_whole_rows(capsys):
    Output(sys.stdout, as_json=True).table((Column("A", "a"),), [{"a": 1, "more": [None]}])
    assert json.loads(capsys.readouterr().out) == [{"a": 1, "more": [None]}]


def test_a_table_on_a_terminal():
    stream = Terminal()
    columns = (Column("NAME", "name"), Column("MEMORY", "memory", size, right=True), Column("NOTE", "note"))
    Output(stream).table(
        columns, [{"name": "seo", "memory": 5 << 20, "note": "\x1b[1m"}, {"name": "x", "memory": None}]
    )
    assert stream.getvalue() == "NAME  MEMORY  NOTE\nseo   5.0 MB  \\x1b[1m\nx          -  -\n"


def test_whole_columns_are_never_shortened():
    stream = Terminal()
    columns = (Column("REF", "name|id", whole=True), Column("TEXT", "text"))
    Output(stream).table(columns, [{"name": "", "id": "i" * 36, "text": "t" * 100}, {"name": "home", "text": "short"}])
    first, second, third = stream.getvalue().splitlines()
    assert second.startswith("i" * 36 + "  ttt")
    assert second.endswith("…")
    assert max(map(len, (first, second, third))) <= 80
    assert third.startswith("home ")


COLUMNS = (
    Column("NAME", "name", whole=True),
    Column("WHAT", "what", shrink=2),
    Column("COUNT", "count", right=True),
    Column("NOTE", "note", shrink=1),
)
LONG_ROW = {"name": "n" * 12, "what": "w" * 20, "count": 1234567890, "note": "t" * 30}


def printed(columns, rows, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    stream = Terminal()
    Output(stream).table(columns, rows)
    return stream.getvalue().splitlines()


def test_columns_are_shortened_in_the_order_of_shrink(monkeypatch):
    name, what, count, note = LONG_ROW.values()
    for room, expected in (
        (80, [name, what, str(count), note]),
        (70, [name, what, str(count), "t" * 21 + "…"]),
        (56, [name, what, str(count), "t" * 7 + "…"]),
        (50, [name, "w" * 13 + "…", str(count), "t" * 7 + "…"]),
        (40, [name, "w" * 7 + "…", str(count), "ttt…"]),
        (20, [name, "…", str(count), "…"]),
    ):
        assert printed(COLUMNS, [LONG_ROW], monkeypatch, room)[1].split() == expected, room


def test_the_variable_COLUMNS_sets_the_width(monkeypatch):
    wide = printed((Column("TEXT", "text", shrink=1),), [{"text": "t" * 300}], monkeypatch, 300)
    assert len(wide[1]) == 300
    for nonsense in ("", "0", "-5", "x"):
        assert len(printed((Column("TEXT", "text", shrink=1),), [{"text": "t" * 300}], monkeypatch, nonsense)[1]) == 80


def test_states_are_coloured_without_changing_the_width(monkeypatch):
    columns = (Column("STATE", "state", coloured=True), Column("NAME", "name"))
    rows = [{"state": "ready", "name": "a"}, {"state": "failed", "name": "failed"}]
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    coloured = printed(columns, rows, monkeypatch, 80)
    assert coloured[0] == "STATE   NAME"
    assert re.fullmatch(r"\x1b\[32mready \x1b\[0m  a", coloured[1])
    assert coloured[2].endswith("  failed"), "a name is no state"
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            assert printed(columns, rows, monkeypatch, 80) == ["STATE   NAME", "ready   a", "failed  failed"]
    stream = io.StringIO()
    Output(stream).table(columns, rows)
    assert stream.getvalue() == "ready\ta\nfailed\tfailed\n"


def test_sizes_and_durations():
    assert [size(n) for n in (0, 999, 1024, 20_000, 5 << 20, 3 << 30)] == [
        "0 B", "999 B", "1.0 KB", "20 KB", "5.0 MB", "3.0 GB",
    ]  # fmt: skip
    assert [duration(n) for n in (0.04, 12.3, 125, 7500, 190_000)] == ["0.0 s", "12 s", "2 min", "2 h 5 min", "2 d 4 h"]


def test_a_real_terminal(on_site, site_folder):
    assert on_site("registry", "define", "page", "{}").code == 0
    nasty = '{"title": "\\u001b]0;owned\\u0007 %s"}' % ("x" * 300)
    assert on_site("snippet", "create", "page", "--name", "nasty", nasty).code == 0
    env = {"REED_RUNTIME_DIR": str(site_folder / "run"), "NO_COLOR": "1", "TERM": "xterm"}
    code, printed = on_a_terminal(60, "snippet", "list", env=env)
    assert code == 0
    assert all(len(line) <= 60 for line in printed.splitlines())
    assert printed.split()[:3] == ["REF", "TYPE", "VERSION"]
    for words in (["snippet", "get", "nasty"], ["snippet", "get", "nasty", "--json"], ["status"], ["plugin", "status"]):
        code, printed = on_a_terminal(80, *words, env=env)
        assert code == 0
        assert "\x1b" not in printed
        assert "\x07" not in printed
    assert on_a_terminal(80, "snippet", "get", "\x1b[2J", env=env)[1].count("\x1b") == 0


def test_states_and_errors_are_coloured_on_a_real_terminal(on_site, site_folder):
    env = {"REED_RUNTIME_DIR": str(site_folder / "run"), "NO_COLOR": "", "TERM": "xterm"}
    assert "\x1b[2mstopped" in on_a_terminal(80, "plugin", "list", env=env)[1]
    assert re.search(r"\x1b\[[0-9;]+mreed:\x1b\[0m no snippet", on_a_terminal(80, "snippet", "get", "none", env=env)[1])
    plain = on_a_terminal(80, "plugin", "list", env={**env, "NO_COLOR": "1"})[1]
    assert "stopped" in plain
    assert "\x1b" not in plain
    assert "\x1b" not in on_a_terminal(80, "snippet", "get", "none", env={**env, "NO_COLOR": "1"})[1]
    narrow = on_a_terminal(80, "plugin", "list", env={**env, "NO_COLOR": "1", "COLUMNS": "60"})[1].splitlines()
    assert max(map(len, narrow)) <= 60


def test_a_terminal_with_ascii_encoding(on_site, site_folder):
    on_site("registry", "define", "page", "{}")
    on_site("snippet", "create", "page", "--name", "umlaut", '{"title": "Grüße"}')
    env = {"REED_RUNTIME_DIR": str(site_folder / "run"), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code, printed = on_a_terminal(80, "snippet", "get", "umlaut", env=env)
    assert (code, "Gr??e" in printed) == (0, True)
