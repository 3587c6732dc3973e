"""plugin-registry.csv: its rows, and errors with line and column."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import reed
from reed.errors import RegistryError
from reed.runtime_paths import MAX_SOCKET_NAME
from reed.supervision import registry_csv
from reed.wire.codes import Permission

RUN = Path("/run/reed")
HEADER = ",".join(registry_csv.COLUMNS)
GOOD = 'seo,lua,/tmp/reed-cms/plugins/seo.sock,1.2.0,"snippet_read","editor,admin",false,"SEO ""by hand"""'


def parse(*lines: str, run: Path = RUN) -> list[registry_csv.Row]:
    return registry_csv.parse("\n".join(lines).encode(), "r.csv", run)


def refused(*lines: str, run: Path = RUN) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        parse(*lines, run=run)
    return caught.value


def test_the_project_contains_the_four_rows_of_reedcms_10() -> None:
    file = Path(reed.__file__).parents[1] / "plugin-registry.csv"
    if not file.exists():
        pytest.skip("only a checkout has the registry beside the package")
    found = {row.plugin_name: row for row in registry_csv.load(file, RUN)}
    assert set(found) >= {"ai-core", "simple-seo", "form-validator", "analytics"}
    ai = found["ai-core"]
    assert (ai.plugin_type, ai.version, ai.auto_start) == ("native", "1.0.0", True)
    assert ai.required_permissions == {Permission.SNIPPET_READ, Permission.SNIPPET_WRITE}
    assert ai.user_groups == {"admin"}
    assert found["simple-seo"].user_groups == {"editor", "admin"}
    assert found["simple-seo"].description == "SEO validation (LUA)"
    assert found["analytics"].socket_path == RUN / "plugins/analytics.sock", "moved into the runtime folder"


def test_comments_and_empty_lines_are_allowed_anywhere() -> None:
    found = parse("# a comment, with a comma", "", HEADER, "", "# another", GOOD, "#", "")
    assert [(row.plugin_name, row.line) for row in found] == [("seo", 6)]
    assert found[0].description == 'SEO "by hand"'


def test_crlf_and_a_byte_order_mark_are_accepted() -> None:
    raw = b"\xef\xbb\xbf" + f"{HEADER}\r\n{GOOD}\r\n".encode()
    assert registry_csv.parse(raw, "r.csv", RUN) == parse(HEADER, GOOD)


def test_lists_may_be_empty_and_may_have_spaces() -> None:
    (row,) = parse(HEADER, 'a,native,/tmp/reed-cms/plugins/a.sock,1.0.0,"", " editor",true,'.replace(' "', '"'))
    assert row.required_permissions == frozenset()
    (row,) = parse(HEADER, 'a,native,/tmp/reed-cms/plugins/a.sock,1.0.0,"snippet_read, file_write",,true,x')
    assert row.required_permissions == {Permission.SNIPPET_READ, Permission.FILE_WRITE}
    assert row.user_groups == frozenset()


def test_comparison_of_rows_ignores_the_line() -> None:
    assert parse(HEADER, GOOD) == parse(HEADER, "#", GOOD)


def changed(**fields: str) -> str:
    """A row with these fields."""
    values = {
        "plugin_name": "seo",
        "plugin_type": "lua",
        "socket_path": "/tmp/reed-cms/plugins/seo.sock",
        "version": "1.2.0",
        "required_permissions": '"snippet_read,schema_read"',
        "user_groups": "editor",
        "auto_start": "true",
        "description": "",
    }
    return ",".join((values | fields).values())


@pytest.mark.parametrize(
    ("line", "column"),
    [
        (changed(plugin_name="SEO"), 1),
        (changed(plugin_type="Lua"), 5),
        (changed(socket_path="/etc/seo.sock"), 9),
        (changed(socket_path="/tmp/reed-cms/core.sock"), 9),
        (changed(socket_path="/tmp/reed-cms/plugins/../x.sock"), 9),
        (changed(version="1.2"), 40),
        (changed(version="1.2.3-much-too-long"), 40),
        (changed(required_permissions='"snippet_read,snippet_wri"'), 60),
        (changed(user_groups='"editor,Chief Editors"'), 81),
        (changed(auto_start="yes"), 80),
        ("seo,lua", 5),
        ('seo,lua,"/tmp,1.0.0', 9),
        ('seo,lu"a,x', 7),
        ('seo,"lua" ,x', 10),
        ("se\x07o,lua", 3),
    ],
)
def test_an_invalid_row_is_an_error_with_line_and_column(line: str, column: int) -> None:
    error = refused(HEADER, line)
    assert (error.path, error.line, error.column) == ("r.csv", 2, column)


def test_two_plugins_cannot_share_a_name_or_a_socket() -> None:
    error = refused(HEADER, GOOD, GOOD)
    assert (error.line, error.column) == (3, 1)
    error = refused(HEADER, GOOD, changed(plugin_name="other"))
    assert (error.line, error.column) == (3, 11)


def test_an_unclosed_quote_swallows_no_rows() -> None:
    broken = changed(plugin_name="a", description='"never closed')
    error = refused(HEADER, broken, *[GOOD] * 1000)
    assert (error.line, error.column) == (2, broken.index(chr(34) + "never") + 1)


def test_a_truncated_last_row_is_an_error() -> None:
    whole = f"{HEADER}\n{GOOD}"
    first = len(HEADER) + 1
    description = whole.rindex(',"') + 1
    for end in range(first + 1, description):
        with pytest.raises(RegistryError) as caught:
            registry_csv.parse(whole[:end].encode(), "r.csv", RUN)
        assert caught.value.line == 2


def test_the_header_must_be_complete() -> None:
    assert refused("").line == 0
    error = refused(HEADER.replace("version", "versoin"), GOOD)
    assert (error.line, error.column) == (1, 37)
    error = refused(HEADER + ",more")
    assert (error.line, error.column) == (1, 101)


def test_the_runtime_folder_may_have_a_long_path() -> None:
    run = Path("/" + "x" * 1000)
    assert registry_csv.parse(f"{HEADER}\n{GOOD}".encode(), "r.csv", run)[0].socket_path.parent == run / "plugins"


def test_a_socket_name_that_is_too_long_is_an_error() -> None:
    name = "x" * (MAX_SOCKET_NAME - len(".sock") + 1)
    error = refused(HEADER, GOOD.replace("/seo.sock", f"/{name}.sock"))
    assert (error.line, error.column) == (2, 9)
    parse(HEADER, GOOD.replace("/seo.sock", f"/{name[1:]}.sock"))


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"\n# ok\n\xe9\n")
    (tmp_path / "big.csv").write_bytes(b"#" * 2_000_000)
    for name, place in (("none.csv", (0, 0)), ("latin.csv", (3, 1)), ("big.csv", (0, 0))):
        with pytest.raises(RegistryError) as caught:
            registry_csv.load(tmp_path / name, RUN)
        assert (caught.value.path, caught.value.line, caught.value.column) == (str(tmp_path / name), *place)


PIECES = st.sampled_from([*',"#\n\r\x00 é', '""', HEADER, GOOD, "seo", "lua", "true", "snippet_read", "1.0.0"])


@given(st.one_of(st.binary(max_size=80), st.lists(PIECES, max_size=30).map(lambda parts: "".join(parts).encode())))
@example((HEADER + "\n" + GOOD[:-3]).encode())
def test_any_bytes_are_rows_or_a_registry_error(raw: bytes) -> None:
    for data in (raw, f"{HEADER}\n".encode() + raw):
        try:
            found = registry_csv.parse(data, "r.csv", RUN)
        except RegistryError as error:
            found = []
            assert str(error).startswith("r.csv")  # noqa: PT017
        assert all(row.plugin_name for row in found)


@given(st.integers(0, len(GOOD)), st.characters(codec="utf-8"))
def test_a_row_with_one_character_more_is_the_same_or_named(at: int, character: str) -> None:
    line = GOOD[:at] + character + GOOD[at:]
    try:
        found = parse(HEADER, line)
    except RegistryError as error:
        assert error.line in (2, 3)  # noqa: PT017
    else:
        assert len(found) <= 1


def test_a_row_that_is_too_long_is_refused_with_its_line() -> None:
    error = refused(HEADER, GOOD.replace("editor,admin", "x," * 5000))
    assert error.line == 2
    assert "at most 8192" in str(error)


def test_a_file_of_empty_lines_is_read_in_steps(tmp_path: Path) -> None:
    """A reload takes a slice of each turn, so no step may read thousands of lines."""
    registry = tmp_path / "r.csv"
    registry.write_text(HEADER + "\n" * 100_000 + GOOD)
    steps = list(registry_csv.read_rows(registry, RUN))
    assert len(steps) > 500
    assert [row.plugin_name for row in steps if row is not None] == ["seo"]
