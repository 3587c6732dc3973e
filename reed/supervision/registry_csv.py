"""plugin-registry.csv: which plugins may run, and as what (plugin-registry.md). Errors are RegistryError with a place.

A row is exactly one line, so an unclosed quote never swallows the rows after it. A socket_path below /tmp/reed-cms is
moved into the runtime folder in use.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from reed.errors import Malformed, RegistryError, nearest
from reed.plugin_types import TYPES
from reed.runtime_paths import MAX_SOCKET_NAME, PRIVATE
from reed.supervision.permissions import permission
from reed.wire import identifiers
from reed.wire.codes import Permission

COLUMNS = (
    "plugin_name",
    "plugin_type",
    "socket_path",
    "version",
    "required_permissions",
    "user_groups",
    "auto_start",
    "description",
)
STANDARD_FOLDER = Path("/tmp/reed-cms")
MAX_BYTES = 1024 * 1024
MAX_LINE = 8 * 1024  # characters of a row; some 10 ms
_LINES_PER_STEP = 100
MAX_VERSION = 15  # bytes; a 16-byte field with NUL (protocol.md#plugins)

T = TypeVar("T")

_FIELD = re.compile(r'"((?:[^"]|"")*)"|([^",]*)')
VERSION = r"[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?"
_GROUP = re.compile(r"[a-z][a-z0-9_-]{0,30}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Row:
    plugin_name: str
    plugin_type: str  # a key of reed.plugin_types.TYPES
    socket_path: Path
    version: str
    required_permissions: frozenset[Permission] = frozenset()
    user_groups: frozenset[str] = frozenset()  # may call the plugin
    auto_start: bool = False
    description: str = ""
    line: int = field(default=0, compare=False)

    @property
    def shared(self) -> str:
        """What is the same on every machine."""
        permissions, groups = (",".join(sorted(each)) for each in (self.required_permissions, self.user_groups))
        return f"{self.plugin_type} {self.version} permissions={permissions} groups={groups}"


def standard_socket(name: str) -> Path:
    """The socket_path of a new row."""
    return STANDARD_FOLDER / "plugins" / f"{name}.sock"


class _Field(NamedTuple):
    path: str
    line: int
    column: int  # from 1
    text: str

    def wrong(self, message: str, hint: str = "", offset: int = 0) -> RegistryError:
        return RegistryError(self.path, message, line=self.line, column=self.column + offset, hint=hint)

    def parts(self) -> Iterator[_Field]:
        at = 0
        for part in self.text.split(",") if self.text.strip() else []:
            text = part.strip()
            start = at + part.find(text)
            at += len(part) + 1
            yield self._replace(text=text, column=self.column + start)


def load(path: str | os.PathLike[str], runtime_dir: Path) -> list[Row]:
    """Raises RegistryError."""
    return [row for row in read_rows(path, runtime_dir) if row is not None]


def read_rows(path: str | os.PathLike[str], runtime_dir: Path) -> Iterator[Row | None]:
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise RegistryError(name, "no such file", hint="`reed init` creates one, or pass --registry") from None
    except OSError as problem:
        raise RegistryError(name, f"cannot be read: {problem.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise RegistryError(name, f"is larger than {MAX_BYTES // 1024} KiB")
    yield from _rows(raw, name, runtime_dir)


def parse(raw: bytes, path: str, runtime_dir: Path) -> list[Row]:
    """`path` only names the registry in errors."""
    return [row for row in _rows(raw, path, runtime_dir) if row is not None]


def _rows(raw: bytes, path: str, runtime_dir: Path) -> Iterator[Row | None]:
    by_name: dict[str, Row] = {}
    by_socket: dict[Path, Row] = {}
    header_seen = False
    for number, line in _lines(raw, path):
        if not line:
            if not number % _LINES_PER_STEP:
                yield None
            continue
        parts = _split(line, number, path)
        if not header_seen:
            _check_header(parts)
            header_seen = True
            continue
        row = _row(parts, runtime_dir)
        if other := by_name.get(row.plugin_name):
            raise parts[0].wrong(f"the plugin {row.plugin_name!r} already has a row", f"on line {other.line}")
        if other := by_socket.get(row.socket_path):
            raise parts[2].wrong("another plugin has this socket_path", f"{other.plugin_name} on line {other.line}")
        by_name[row.plugin_name] = by_socket[row.socket_path] = row
        yield row
    if not header_seen:
        raise RegistryError(path, "has no header", hint=f"its first line is {','.join(COLUMNS)}")


def _lines(raw: bytes, path: str) -> Iterator[tuple[int, str]]:
    """Numbered lines; "" for a comment or an empty line."""
    for number, line in enumerate(io.BytesIO(raw.removeprefix(b"\xef\xbb\xbf")), 1):
        try:
            text = line.removesuffix(b"\n").removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            raise RegistryError(path, "is not UTF-8", line=number, column=error.start + 1) from None
        if not text.strip() or text.startswith("#"):
            yield number, ""
            continue
        if len(text) > MAX_LINE:
            hint = f"at most {MAX_LINE}"
            raise RegistryError(path, f"a row of {len(text)} characters", line=number, column=MAX_LINE + 1, hint=hint)
        control = _CONTROL.search(text)
        if control:
            column = control.start() + 1
            raise RegistryError(path, f"a control character, {control.group()!r}", line=number, column=column)
        yield number, text


def _split(line: str, number: int, path: str) -> list[_Field]:
    found = []
    at = 0
    while True:
        match = _FIELD.match(line, at)
        assert match is not None  # _FIELD also matches nothing
        quoted = match[1] is not None
        text = match[1].replace('""', '"') if quoted else match[2]
        here = _Field(path, number, at + (2 if quoted else 1), text)
        end = match.end()
        if end == at and line[at : at + 1] == '"':
            raise here.wrong(
                "a quote is opened here and not closed on this line", 'a quote within quotes is written ""'
            )
        if end < len(line) and line[end] != ",":
            hint = 'put the whole field into quotes, and write a quote within them as ""'
            raise here.wrong(f"expected a comma, found {line[end]!r}", hint, end - here.column + 1)
        found.append(here)
        if end >= len(line):
            return found
        at = end + 1


def _check_header(parts: list[_Field]) -> None:
    for part, expected in zip(parts, COLUMNS, strict=False):
        if part.text != expected:
            raise part.wrong(f"expected the column {expected}, found {part.text!r}", "the header is the first line")
    if len(parts) != len(COLUMNS):
        raise parts[-1].wrong(f"{len(parts)} columns, expected {len(COLUMNS)}: {','.join(COLUMNS)}")


def _row(parts: list[_Field], runtime_dir: Path) -> Row:
    if len(parts) != len(COLUMNS):
        hint = "a row cut off, or a comma outside quotes"
        raise parts[-1].wrong(f"{len(parts)} fields, expected {len(COLUMNS)}: {','.join(COLUMNS)}", hint)
    name, kind, socket_path, version, permissions, groups, auto_start, description = parts
    return Row(
        plugin_name=_checked(name, partial(identifiers.check, "plugin name")),
        plugin_type=_choice(kind, " or ".join(TYPES), tuple(TYPES)),
        socket_path=_socket_path(socket_path, runtime_dir),
        version=_version(version),
        required_permissions=frozenset(_checked(part, permission) for part in permissions.parts()),
        user_groups=frozenset(_group(part) for part in groups.parts()),
        auto_start=_choice(auto_start, "true or false", ("true", "false")) == "true",
        description=description.text,
        line=name.line,
    )


def _checked(part: _Field, check: Callable[[str], T]) -> T:
    try:
        return check(part.text)
    except Malformed as error:
        raise part.wrong(error.message, error.hint) from None


def _choice(part: _Field, expected: str, choices: tuple[str, ...]) -> str:
    if part.text not in choices:
        raise part.wrong(f"expected {expected}, found {part.text!r}", nearest(part.text.lower(), choices))
    return part.text


def _version(part: _Field) -> str:
    if not re.fullmatch(VERSION, part.text) or len(part.text) > MAX_VERSION:
        raise part.wrong(f"expected a version such as 1.2.0, of at most {MAX_VERSION} bytes, found {part.text!r}")
    return part.text


def _group(part: _Field) -> str:
    if not _GROUP.fullmatch(part.text):
        raise part.wrong(f"expected the name of a group (a-z, then a-z 0-9 _ -), found {part.text!r}")
    return part.text


def _socket_path(part: _Field, runtime_dir: Path) -> Path:
    """Other folders are rejected, so no row can name a foreign socket."""
    given = Path(part.text)
    plugins = STANDARD_FOLDER / "plugins"
    configured = runtime_dir.parent if runtime_dir.name == PRIVATE else runtime_dir
    known = {plugins, runtime_dir / "plugins", configured / "plugins"}
    if given.suffix != ".sock" or not given.stem or given.parent not in known:
        raise part.wrong(f"expected a socket_path such as {plugins}/NAME.sock, found {part.text!r}")
    length = len(os.fsencode(given.name))
    if length > MAX_SOCKET_NAME:
        raise part.wrong(f"{given.name} is {length} bytes long; the name of a socket may have {MAX_SOCKET_NAME}")
    return runtime_dir / "plugins" / given.name
