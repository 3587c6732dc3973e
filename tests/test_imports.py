"""Imports point one way (architecture.md#layers).

The checker itself is tested on small trees with one violation each.
"""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import reed

MAX_LINES = 400

# room: the rooms it may import. A room is a folder or a module right under reed/.
ARROWS = {
    "__init__": "client",  # of programs that ask for it
    "__main__": "cli",
    "errors": "",
    "system_calls": "errors",
    "process_handle": "system_calls",
    "core_process": "errors process_handle",
    "runtime_paths": "",
    "import_path": "",
    "core_thread": "errors loop",
    "service_manager": "",
    "text": "",
    "atomic_file": "",
    "figures": "",
    "own_tests": "",
    "followed_log": "",
    "peer_log": "loop text",
    "log_file": "errors",
    "wire": "errors",
    "counters": "",
    "metrics": "",
    "loop": "system_calls counters",
    "store": "errors wire",
    "document": "errors",
    "readers": "errors document",
    "config": "errors document readers store",
    "sandbox": "errors runtime_paths",
    "plugin_types": "errors own_tests sandbox lua python plugin_host",
    "supervision": "errors atomic_file system_calls process_handle runtime_paths wire loop config document readers"
    " plugin_types peer_log text sandbox",
    "plugin_packages": "errors config plugin_types supervision wire",
    "core": "errors process_handle system_calls runtime_paths wire loop store config supervision sandbox peer_log"
    " counters",
    "peers": "errors loop peer_log",
    "workers": "errors import_path loop peer_log process_handle store",
    "client": "errors runtime_paths wire",
    "plugin_host": "errors wire fake_core",
    "fake_core": "errors wire store",
    "lua": "errors own_tests wire plugin_host fake_core",
    "plugin": "errors wire fake_core",
    "python": "errors own_tests wire plugin plugin_host sandbox fake_core",
    "zygote": "errors system_calls import_path runtime_paths wire supervision lua python plugin_host sandbox workers"
    " peer_log",
    "plugin_callbacks": "wire supervision core peers",
    "daemon": "errors system_calls wire loop store config supervision core peers workers zygote sandbox peer_log"
    " counters core_thread plugin_callbacks",
    "serve": "errors system_calls process_handle config store supervision daemon log_file service_manager text",
    "testing": "errors core_process import_path wire config supervision plugin_types plugin_packages client serve",
    "pytest_plugin": "testing",
    "web": "errors runtime_paths wire store supervision client figures followed_log text metrics",
    "cli": "errors atomic_file system_calls process_handle core_process own_tests runtime_paths wire config supervision"
    " plugin_types client plugin_packages serve scaffold store testing figures followed_log text web metrics"
    " sandbox",  # `doctor` names its layers
    "scaffold": "errors atomic_file wire plugin_types plugin",
}
# outside package: where alone it may be imported (modules and folders under reed/).
ONLY_IN = {
    "selectors": {"loop"},
    "select": {
        "loop",
        "plugin_host",  # a plugin waits for its core and its FIFOs
        "zygote",  # for requests
        "core_process.py",  # for a core to serve or to exit
    },
    "lupa": {"lua"},
    "jsonschema_rs": {"store"},
    "yaml": {
        "document.py",
        "cli/options.py",  # a definition that a person wrote as YAML
        "cli/importing/front_matter.py",
    },
    "markdown_it": {"cli"},
    "mdit_py_plugins": {"cli"},
    "sqlite3": {"store"},
    "psycopg": {"store"},
    "pytest": {"pytest_plugin.py"},
    "cronsim": {"supervision"},
    "starlette": {"web"},
    "uvicorn": {"web"},
    "jinja2": {"web"},
    "anyio": {"web"},
    "logging": {
        "peer_log.py",
        "log_file.py",
        "daemon.py",
        "serve.py",
    },  # all else: PeerLog, which bounds it
}
NEVER_IN_THE_CORE = {"asyncio", "threading", "concurrent", "multiprocessing"}
MAY_HAVE_THREADS = {"client", "core_thread", "lua", "cli", "web"}  # or are programs of their own
NO_NAMES = {"utils", "util", "helpers", "misc"}


def module_name(path: Path, root: Path) -> str:
    parts = ("reed", *path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    return [*module.split("."), "__init__"][1]


def imported(path: Path, root: Path, modules: set[str]) -> Iterator[tuple[int, str]]:
    """(line, absolute module) of every import in a file."""
    package = module_name(path, root).split(".")
    if path.name != "__init__.py":
        package.pop()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:  # `from reed.wire import frames` imports the module frames
                name = f"{base}.{alias.name}"
                yield node.lineno, name if name in modules else base


def problems(root: Path) -> list[str]:
    """The violations in the package `reed` at `root`, one line each."""
    bundled = root / "plugins"  # of an installed package: programs of their own
    files = sorted(path for path in root.rglob("*.py") if bundled not in path.parents)
    modules = {module_name(path, root) for path in files}
    found = []
    graph: dict[str, set[str]] = {}
    for path in files:
        module, place = module_name(path, root), path.relative_to(root.parent)
        graph.setdefault(module, set())
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > MAX_LINES:
            found.append(f"{place}: {lines} lines, at most {MAX_LINES}")
        if path.stem in NO_NAMES:
            found.append(f"{place}: a name that says nothing")
        if room_of(module) not in ARROWS:
            found.append(f"{place}: the room {room_of(module)} is not in the table of arrows")
            continue
        for line, target in imported(path, root, modules):
            if target == "reed" or target.startswith("reed."):
                if target != "reed":
                    graph[module].add(target)
                found += [f"{place}:{line}: {reason}" for reason in wrong_arrow(module, target)]
            else:
                inside = str(path.relative_to(root))
                found += [
                    f"{place}:{line}: {reason}" for reason in wrong_guest(inside, target.split(".", maxsplit=1)[0])
                ]
    return found + cycles(graph)


def wrong_arrow(module: str, target: str) -> Iterator[str]:
    room, other = room_of(module), room_of(target)
    if other not in (room, "__init__") and other not in ARROWS[room].split():
        yield f"{room} imports {target}, it may import {ARROWS[room] or 'nothing'}"


def wrong_guest(inside: str, guest: str) -> Iterator[str]:
    room = inside.split("/", maxsplit=1)[0].removesuffix(".py")
    if guest in ONLY_IN and inside not in ONLY_IN[guest] and room not in ONLY_IN[guest]:
        yield f"{guest} is imported outside {', '.join(sorted(ONLY_IN[guest]))}"
    if guest in NEVER_IN_THE_CORE and room not in MAY_HAVE_THREADS:
        yield f"{guest} in the core"


def cycles(graph: dict[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return ["a cycle: " + " <- ".join(error.args[1])]
    return []


def test_every_import_points_the_right_way() -> None:
    assert problems(Path(reed.__file__).parent) == []


SOUND = {
    "__init__.py": "",
    "errors.py": "import enum",
    "wire/__init__.py": "",
    "wire/frames.py": "from reed.errors import Malformed\nfrom reed.wire import codes",
    "wire/codes.py": "from ..errors import ErrorCode",
    "loop/loop.py": "import selectors",
    "core/listener.py": "def f():\n    from reed.wire import frames",
    "lua/host.py": "import lupa.lua55, threading",
    "cli/options.py": "import yaml, reed",
}


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / "reed" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    return root / "reed"


def test_a_valid_tree_has_no_problems(tmp_path: Path) -> None:
    assert problems(tree(tmp_path, SOUND)) == []


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("wire/bad.py", "import os\nimport reed.store.sqlite", "reed/wire/bad.py:2: wire imports reed.store.sqlite"),
        ("wire/bad.py", "from reed import client", "wire imports reed.client, it may import errors"),
        ("wire/bad.py", "from ..core import listener", "wire imports reed.core.listener"),
        ("errors.py", "from reed.wire.codes import Command", "errors imports reed.wire.codes, it may import nothing"),
        (
            "lua/bad.py",
            "def f():\n    from reed.core import listener",
            "reed/lua/bad.py:2: lua imports reed.core.listener",
        ),
        ("core/bad.py", "from reed.peers import pairs", "core imports reed.peers"),
        ("peers/bad.py", "from reed.core import listener", "peers imports reed.core.listener"),
        ("core/bad.py", "from reed.lua import host", "core imports reed.lua.host"),
        ("core/bad.py", "import selectors", "selectors is imported outside loop"),
        ("daemon.py", "import lupa", "lupa is imported outside lua"),
        ("core/bad.py", "from lupa import lua55", "lupa is imported outside lua"),
        ("supervision/registry_csv.py", "import yaml", "yaml is imported outside"),
        ("core/bad.py", "import jsonschema_rs", "jsonschema_rs is imported outside store"),
        ("core/bad.py", "import asyncio", "asyncio in the core"),
        ("store/bad.py", "from concurrent.futures import Future", "concurrent in the core"),
        ("loop/bad.py", "import threading as t", "threading in the core"),
        ("wire/codes.py", "from reed.wire.frames import Frame", "a cycle: reed.wire."),
        ("wire/utils.py", "", "a name that says nothing"),
        ("attic/old.py", "", "the room attic is not in the table"),
        ("wire/long.py", "\n" * 400, "401 lines, at most 400"),
    ],
)
def test_an_invalid_tree_is_reported(tmp_path: Path, name: str, text: str, says: str) -> None:
    files = {**SOUND, "client.py": "", "peers/pairs.py": "", name: text}
    (line,) = problems(tree(tmp_path, files)) if "cycle" in says else problems(tree(tmp_path, files))[:1]
    assert says in line
