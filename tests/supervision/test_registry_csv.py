"""plugin-registry.csv: what is read, and what a person reads when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import reed
from reed.errors import RegistryError
from reed.plugin_types import TYPES
from reed.runtime_paths import MAX_SOCKET_NAME
from reed.supervision import registry_csv
from reed.wire.codes import Permission

RUN = Path("/run/reed")
HEADER = ",".join(registry_csv.COLUMNS)
GOOD = 'seo,lua,/tmp/reed-cms/plugins/seo.sock,1.2.0,"snippet_read","editor,admin",false,"SEO ""by hand"""'


def parse(*lines: str, run: Path = RUN) -> list[registry_csv.Row]:
    return registry_csv.parse("\n".join(lines).encode(), "r.csv", run)


def complaint(*lines: str, run: Path = RUN) -> str:
    with pytest.raises(RegistryError) as caught:
        parse(*lines, run=run)
    return str(caught.value)


def test_the_four_rows_of_the_source_stand_in_the_project() -> None:
    file = Path(reed.__file__).parents[1] / "plugin-registry.csv"
    if not file.exists():
        pytest.skip("the registry stands beside the package in a checkout only")
    found = {row.plugin_name: row for row in registry_csv.load(file, RUN)}
    assert set(found) >= {"ai-core", "simple-seo", "form-validator", "analytics"}
    ai = found["ai-core"]
    assert (ai.plugin_type, ai.version, ai.auto_start) == ("native", "1.0.0", True)
    assert ai.required_permissions == {Permission.SNIPPET_READ, Permission.SNIPPET_WRITE}
    assert ai.user_groups == {"admin"}
    assert found["simple-seo"].user_groups == {"editor", "admin"}
    assert found["simple-seo"].description == "SEO validation (LUA)"
    assert found["analytics"].socket_path == RUN / "plugins/analytics.sock", "it moved along"


def test_comments_and_empty_lines_may_stand_anywhere() -> None:
    found = parse("# a comment, with a comma", "", HEADER, "", "# another", GOOD, "#", "")
    assert [(row.plugin_name, row.line) for row in found] == [("seo", 6)]
    assert found[0].description == 'SEO "by hand"'


def test_line_ends_and_a_byte_order_mark_of_other_systems_are_taken() -> None:
    raw = b"\xef\xbb\xbf" + f"{HEADER}\r\n{GOOD}\r\n".encode()
    assert registry_csv.parse(raw, "r.csv", RUN) == parse(HEADER, GOOD)


def test_lists_may_be_empty_and_may_have_spaces() -> None:
    (row,) = parse(HEADER, 'a,native,/tmp/reed-cms/plugins/a.sock,1.0.0,"", " editor",true,'.replace(' "', '"'))
    assert row.required_permissions == frozenset()
    (row,) = parse(HEADER, 'a,native,/tmp/reed-cms/plugins/a.sock,1.0.0,"snippet_read, file_write",,true,x')
    assert row.required_permissions == {Permission.SNIPPET_READ, Permission.FILE_WRITE}
    assert row.user_groups == frozenset()


def test_a_row_is_equal_wherever_it_stands() -> None:
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
    ("line", "message"),
    [
        (
            changed(plugin_name="SEO"),
            "r.csv:2:1: 'SEO' is not a plugin name; expected a-z, then a-z 0-9 -, at most 31 characters",
        ),
        (changed(plugin_type="Lua"), f"r.csv:2:5: expected {' or '.join(TYPES)}, found 'Lua'; did you mean 'lua'?"),
        (
            changed(socket_path="/etc/seo.sock"),
            "r.csv:2:9: expected a socket_path such as /tmp/reed-cms/plugins/NAME.sock, found '/etc/seo.sock'",
        ),
        (
            changed(socket_path="/tmp/reed-cms/core.sock"),
            "r.csv:2:9: expected a socket_path such as /tmp/reed-cms/plugins/NAME.sock, "
            "found '/tmp/reed-cms/core.sock'",
        ),
        (
            changed(socket_path="/tmp/reed-cms/plugins/../x.sock"),
            "r.csv:2:9: expected a socket_path such as /tmp/reed-cms/plugins/NAME.sock, "
            "found '/tmp/reed-cms/plugins/../x.sock'",
        ),
        (
            changed(version="1.2"),
            "r.csv:2:40: expected a version such as 1.2.0, of at most 15 bytes, found '1.2'",
        ),
        (
            changed(version="1.2.3-much-too-long"),
            "r.csv:2:40: expected a version such as 1.2.0, of at most 15 bytes, found '1.2.3-much-too-long'",
        ),
        (
            changed(required_permissions='"snippet_read,snippet_wri"'),
            "r.csv:2:60: unknown permission 'snippet_wri'; did you mean 'snippet_write'?",
        ),
        (
            changed(user_groups='"editor,Chief Editors"'),
            "r.csv:2:81: expected the name of a group (a-z, then a-z 0-9 _ -), found 'Chief Editors'",
        ),
        (changed(auto_start="yes"), "r.csv:2:80: expected true or false, found 'yes'"),
        (
            "seo,lua",
            f"r.csv:2:5: 2 fields, expected 8: {HEADER}; a row cut off, or a comma outside quotes",
        ),
        (
            'seo,lua,"/tmp,1.0.0',
            'r.csv:2:9: a quote is opened here and not closed on this line; a quote inside quotes is written ""',
        ),
        (
            'seo,lu"a,x',
            "r.csv:2:7: expected a comma, found '\"'; "
            "put the whole field into quotes, and write a quote inside them twice",
        ),
        (
            'seo,"lua" ,x',
            "r.csv:2:10: expected a comma, found ' '; "
            "put the whole field into quotes, and write a quote inside them twice",
        ),
        ("se\x07o,lua", "r.csv:2:3: a control character, '\\x07'"),
    ],
)
def test_what_is_wrong_is_named_with_line_and_column(line: str, message: str) -> None:
    assert complaint(HEADER, line) == message


def test_two_plugins_cannot_share_a_name_or_a_socket() -> None:
    assert complaint(HEADER, GOOD, GOOD) == "r.csv:3:1: the plugin 'seo' has a row already; on line 2"
    said = complaint(HEADER, GOOD, changed(plugin_name="other"))
    assert said == "r.csv:3:11: another plugin has this socket_path; seo on line 2"


def test_an_unclosed_quote_swallows_no_rows() -> None:
    broken = changed(plugin_name="a", description='"never closed')
    assert complaint(HEADER, broken, *[GOOD] * 1000).startswith(
        f"r.csv:2:{broken.index(chr(34) + 'never') + 1}: a quote is opened here"
    )


def test_a_last_row_that_was_torn_off_is_an_error() -> None:
    whole = f"{HEADER}\n{GOOD}"
    first = len(HEADER) + 1
    description = whole.rindex(',"') + 1
    for end in range(first + 1, description):
        with pytest.raises(RegistryError, match=r"^r\.csv:2:\d+: "):
            registry_csv.parse(whole[:end].encode(), "r.csv", RUN)


def test_the_header_must_be_the_sources() -> None:
    assert complaint("") == f"r.csv: has no header; its first line is {HEADER}"
    said = complaint(HEADER.replace("version", "versoin"), GOOD)
    assert said == "r.csv:1:37: expected the column version, found 'versoin'; the header is the first line"
    assert complaint(HEADER + ",more").startswith("r.csv:1:101: 9 columns, expected 8")


def test_a_runtime_folder_of_any_length_takes_sockets() -> None:
    run = Path("/" + "x" * 1000)
    assert registry_csv.parse(f"{HEADER}\n{GOOD}".encode(), "r.csv", run)[0].socket_path.parent == run / "plugins"


def test_a_socket_name_that_no_socket_takes_is_an_error() -> None:
    said = complaint(HEADER, GOOD.replace("/seo.sock", f"/{'x' * 100}.sock"))
    assert "is 105 bytes long" in said
    assert str(MAX_SOCKET_NAME) in said


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"none\.csv: no such file; `reed init` makes one"):
        registry_csv.load(tmp_path / "none.csv", RUN)
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"\n# ok\n\xe9\n")
    with pytest.raises(RegistryError, match=r"latin\.csv:3:1: is not UTF-8"):
        registry_csv.load(tmp_path / "latin.csv", RUN)
    (tmp_path / "big.csv").write_bytes(b"#" * 2_000_000)
    with pytest.raises(RegistryError, match=r"big\.csv: is larger than 1024 KiB"):
        registry_csv.load(tmp_path / "big.csv", RUN)


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
