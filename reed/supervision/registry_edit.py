"""Changes one row of plugin-registry.csv. The bytes of all other lines, such as comments, stay as they are."""

from __future__ import annotations

import re

from reed.supervision.registry_csv import COLUMNS, Row

_MAX_DESCRIPTION = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def row_line(row: Row) -> str:
    """The line of a row, without its end."""
    permissions, groups = (",".join(sorted(each)) for each in (row.required_permissions, row.user_groups))
    description = _CONTROL.sub(" ", row.description).strip()[:_MAX_DESCRIPTION]
    about = [row.plugin_name, row.plugin_type, str(row.socket_path), row.version]
    return _line([*about, permissions, groups, str(row.auto_start).lower(), description])


def changed_line(line: str, **columns: str) -> str:
    """`line` with other values in some columns, such as version="1.1.0"."""
    import csv  # here, because the core imports this module and never changes a line

    (fields,) = csv.reader([line])
    return _line([columns.get(column, text) for column, text in zip(COLUMNS, fields, strict=True)])


def find_line(content: bytes, name: str) -> str:
    """The line of a plugin's row, without its end; "" if it has none. The registry is valid."""
    lines = content.split(b"\n")
    number = _number(lines, name)
    return "" if number is None else lines[number].rstrip(b"\r").decode()


def with_line(content: bytes, name: str, line: str) -> bytes:
    """`line` replaces the row of the plugin, or is appended. "" removes the row. The registry is valid."""
    lines = content.split(b"\n")
    number = _number(lines, name)
    if number is None:
        return with_new_line(content, line) if line else content
    if line:
        lines[number] = line.encode() + (b"\r" if lines[number].endswith(b"\r") else b"")
    else:
        del lines[number]
    return b"\n".join(lines)


def with_new_line(content: bytes, line: str) -> bytes:
    """`line` is appended, with the line end of the others."""
    end = b"\r\n" if b"\r\n" in content else b"\n"
    missing = b"" if not content or content.endswith(b"\n") else end
    return content + missing + line.encode() + end


def _number(lines: list[bytes], name: str) -> int | None:
    plain = name.encode()
    for number, line in enumerate(lines):
        if line.partition(b",")[0].strip(b'"') == plain:
            return number
    return None


def _line(fields: list[str]) -> str:
    name, plugin_type, socket_path, version, permissions, groups, auto_start, description = fields
    quoted = description.replace('"', '""')
    return f'{name},{plugin_type},{socket_path},{version},"{permissions}","{groups}",{auto_start},"{quoted}"'
