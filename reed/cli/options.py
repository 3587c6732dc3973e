"""The core that a command connects to, and the arguments REF and JSON.

reed.yaml is parsed only if it sets runtime_dir, because parsing takes longer than a whole command.
"""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from reed.cli.parse import Args, UsageError
from reed.errors import ReedError

if TYPE_CHECKING:
    from reed.client import Client
    from reed.config import Config

TIMEOUT = 60.0
MAX_INPUT = 1024 * 1024 * 1024  # bytes
_PIECE = 1024 * 1024
_MAX_REF = 36  # bytes: an id in text


def connect(args: Args, timeout: float | None = TIMEOUT) -> Client:
    """With timeout None only the core limits a call."""
    from reed.client import Client, core_socket  # 0.4 MB that `reed serve` needs not hold

    return Client(core_socket(runtime_dir(args)), timeout)


def runtime_dir(args: Args) -> str:
    """--runtime-dir, else REED_RUNTIME_DIR, else that of reed.yaml or REED_CONFIG, else the default."""
    from reed.client import DEFAULT_RUNTIME_DIR

    given = args.text("--runtime-dir") or os.environ.get("REED_RUNTIME_DIR")
    if given or not _sets_runtime_dir(os.environ.get("REED_CONFIG") or "reed.yaml"):
        return given or DEFAULT_RUNTIME_DIR
    return os.fspath(config(args).runtime_dir)


def config(args: Args) -> Config:
    from reed.config import load

    return load(args.text("--config"), os.environ, overrides(args))


def overrides(args: Args) -> dict[str, Any]:
    """The settings that options give; None: not given."""
    names = ("runtime_dir", "data_dir", "store", "registry", "sandbox", "log_file", "log_level")
    found: dict[str, Any] = {name: args.text(f"--{name.replace('_', '-')}") for name in names}
    found["plugin_dirs"] = args.texts("--plugin-dir") or None
    return found


def _sets_runtime_dir(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return any(line.startswith(b"runtime_dir") for line in file)
    except OSError:
        return False


def ref(text: str) -> str:
    """NAME, '$NAME', or an id or the start of one."""
    name = text.removeprefix("$")
    if not name:
        raise UsageError("REF is empty", hint="is the shell variable set?")
    if len(os.fsencode(name)) > _MAX_REF:
        raise ReedError(
            f"invalid REF {name[:_MAX_REF]}…: too long", hint="a name has at most 31 bytes, an id has 36 characters"
        )
    return name


def json_input(args: Args, name: str) -> bytes:
    """From the argument `name`, --file, or standard input."""
    given, path = args.arg(name), args.text("--file")
    if bool(given) == bool(path):
        raise UsageError("exactly one of JSON, --file F and - (standard input) is required")
    if "-" in (given, path):
        return without_bom(read_all(standard_input(), "standard input")).strip()
    return read_json(path) if path else os.fsencode(given).strip()


@contextmanager
def optional(what: str, extra: str, *packages: str) -> Iterator[None]:
    """For an import in its block: a missing one of these packages, which the extra has, is a ReedError."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in packages:
            raise
        hint = f"pip install 'reed-cms[{extra}]'"
        raise ReedError(f"{what} requires the package {package.replace('_', '-')}", hint=hint) from None


def standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise ReedError("standard input is closed")
    return sys.stdin.buffer


def read_all(file: BinaryIO, name: str) -> bytes:
    """Raises ReedError if it is longer than any payload. In pieces, between which Ctrl-C ends an endless input."""
    pieces = []
    left = MAX_INPUT
    while piece := file.read(min(left + 1, _PIECE)):
        left -= len(piece)
        if left < 0:
            raise too_long(name)
        pieces.append(piece)
    return b"".join(pieces)


def too_long(name: str) -> ReedError:
    return ReedError(f"{name}: longer than {MAX_INPUT >> 20} MB, the largest that `limits.payload` may be")


def without_bom(data: bytes) -> bytes:
    return data.removeprefix(codecs.BOM_UTF8)


def read_json(path: str) -> bytes:
    """Converts .yaml to JSON. Raises FileError with line and column."""
    from reed.errors import FileError, Malformed
    from reed.wire import strict_json

    with open(path, "rb") as file:
        data = without_bom(read_all(file, path)).strip()
    if path.endswith((".yaml", ".yml")):
        return strict_json.dumps(_yaml(path, data))
    try:
        strict_json.loads(data)
    except Malformed as error:
        raise FileError(path, error.message) from None
    return data


def _yaml(path: str, data: bytes) -> Any:
    import yaml

    from reed.errors import FileError

    try:
        return yaml.safe_load(data)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise FileError(path, error.problem or "not YAML", line=line, column=column) from None
    except yaml.YAMLError as error:
        raise FileError(path, f"not YAML: {error}") from None
