"""One row of the registry changes; every other byte stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from reed.supervision import registry_csv
from reed.supervision.registry_csv import Row
from reed.supervision.registry_edit import changed_line, find_line, row_line, with_line
from reed.wire.codes import Permission

HEADER = ",".join(registry_csv.COLUMNS).encode()
DEMO = 'demo,lua,/tmp/reed-cms/plugins/demo.sock,1.0.0,"snippet_read","admin",true,"A ""demo"", with commas"'
OTHER = b'other,lua,/tmp/reed-cms/plugins/other.sock,2.0.0,"",  "" , false, x'
COMMENT = "# demo,lua: a comment about the demo ü".encode()


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_a_row_is_appended_replaced_and_removed(end: bytes, last: bool) -> None:
    before = end.join([COMMENT, HEADER, b"", b'other,lua,/tmp/reed-cms/plugins/other.sock,2.0.0,"","",false,x'])
    before += end if last else b""
    complete = before if last else before + end
    with_row = with_line(before, "demo", DEMO)
    assert with_row == complete + DEMO.encode() + end
    assert find_line(with_row, "demo") == DEMO
    newer = changed_line(DEMO, version="1.1.0", required_permissions="")
    assert newer == DEMO.replace("1.0.0", "1.1.0").replace('"snippet_read"', '""')
    assert with_line(with_row, "demo", newer) == complete + newer.encode() + end
    assert with_line(with_row, "demo", "") == complete
    assert with_line(before, "demo", "") == before


def test_a_row_in_the_middle_keeps_its_place_and_quoted_names_are_found() -> None:
    before = b"\n".join([HEADER, DEMO.replace("demo,", '"demo",', 1).encode(), COMMENT, OTHER])
    newer = changed_line(find_line(before, "demo"), version="3.0.0")
    after = with_line(before, "demo", newer)
    assert after.split(b"\n")[2:] == [COMMENT, OTHER]
    assert after.split(b"\n")[1].decode() == newer == DEMO.replace("1.0.0", "3.0.0")


def test_the_line_of_a_row_is_a_valid_one_whatever_the_description_is() -> None:
    given = Row(
        plugin_name="demo",
        plugin_type="lua",
        socket_path=Path("/tmp/reed-cms/plugins/demo.sock"),
        version="1.0.0",
        required_permissions=frozenset([Permission.SNIPPET_READ, Permission.FILE_WRITE]),
        user_groups=frozenset(["editor"]),
        auto_start=False,
        description='two\nlines, "quoted" \x1b[2J' + "x" * 500,
    )
    line = row_line(given)
    (row,) = registry_csv.parse(HEADER + b"\n" + line.encode() + b"\n", "csv", Path("/tmp/reed-cms"))
    assert row.description.startswith('two lines, "quoted"  [2Jxxx')
    assert len(row.description) == 200
    assert row.required_permissions == {"snippet_read", "file_write"}
