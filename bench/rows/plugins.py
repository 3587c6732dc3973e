"""Many plugins at once: how fast one starts, what it holds, what all hold together, and the FIFOs between them.

    start       launched -> READY, as the core tells it (`ready_ms`), one plugin after another. The runtime folder is on
                a tmpfs, as /run is, and so is the folder of go-plugin's sockets: on ext4 the FIFO and the pid file take
                0.5 ms more
    private     Private_Clean + Private_Dirty of an idle plugin that has answered a call: what it does not share
    together    PSS of the core and all its processes, the zygote included
    mesh        making and opening the FIFOs of so many plugins, in this process; on a disk it costs what an inode costs

The Lua plugin is contrib/plugins/simple-seo under many names (36 KB of Lua), and once a validator of twenty lines; the
Rust one is peers/hello.rs.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.content import PAGE_TYPE
from bench.lines import Line, missing
from bench.measure import Measure, interleaved, timed
from bench.peers import HERE
from bench.processes import ROOT, Site, running, site
from bench.rows import Run
from reed.client import Client
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.peers.mesh import Mesh

MB = 1024 * 1024
PAGE = {"title": "A page", "description": "What a page says", "body": "Some words. " * 50, "path": "/a"}
_CARGO = """[package]
name = "hello"
version = "1.0.0"
edition = "2024"

[[bin]]
name = "hello"
path = "{main}"

[dependencies]
reed-plugin = {{ path = "{crate}" }}

[profile.release]
lto = true
codegen-units = 1
strip = true
"""  # built as a plugin of the template is
_QUIET = 0.06  # seconds before a start, so that it is alone: the zygote makes the next spare 30 ms after the one before
_SEO = ROOT / "contrib" / "plugins" / "simple-seo"
_HELLO = "actions:\n  greet: {command_id: 1, input: json}\n"
_SMALL = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "small-0", version = "1.0.0" }
local LONGEST = { title = 70, description = 160 }

local function check(content)
  local found = {}
  for field, longest in pairs(LONGEST) do
    local text = content[field]
    if type(text) ~= "string" or text == "" then
      found[#found + 1] = field .. " is missing"
    elseif utf8.len(text) > longest then
      found[#found + 1] = field .. " is too long"
    end
  end
  return { ok = #found == 0, found = found }
end

plugin.action("validate", function(payload) return check(json.decode(payload).content) end)
plugin.run()
"""
LUA_MEMORY = 1.3  # MB; objects are immortal from Python 3.12 on
_IS_IMMORTAL = sys.version_info >= (3, 12)
_KINDS = {"seo": "Lua plugin", "small": "Lua plugin of 20 lines", "hello": "Rust plugin"}


def measure(run: Run) -> list[Line]:
    program = rust_program()
    lines = [
        *starts(run, program),
        *beside_go_plugin(run, 0.8),
        *beside_go_plugin(run, 0.5, small=True),
        *together(20, 10, program),
        *together(200, 50, program),
    ]
    return lines + mesh(run, 30) + mesh(run, 70)


def rust_program() -> bytes | None:
    """peers/hello.rs, built with the crate of this checkout; None where there is no cargo."""
    if shutil.which("cargo") is None:
        return None
    crate = ROOT / "reed" / "rust"
    target = Path(os.environ.get("CARGO_TARGET_DIR", crate / "target")) / "bench"
    target.mkdir(parents=True, exist_ok=True)
    (target / "Cargo.toml").write_text(_CARGO.format(main=HERE / "hello.rs", crate=crate))
    shutil.copy(crate / "Cargo.lock", target)
    subprocess.run(
        ["cargo", "build", "--quiet", "--release"],
        cwd=target,
        check=True,
        env={**os.environ, "CARGO_TARGET_DIR": str(target)},
    )
    return (target / "release" / "hello").read_bytes()


def starts(run: Run, program: bytes | None) -> list[Line]:
    """The median start, and the private memory of one, of each type."""
    lines: list[Line] = []
    with (
        _site(1, 1 if program else 0, program, small=True, in_memory=True) as (place, names),
        running(place),
        Client(place.socket) as client,
    ):
        page = create_page(client)
        for name in names:
            took = []
            for _ in range(run.times(50)):
                client.plugin_start(name)
                took.append(client.plugin_health(name)[0]["ready_ms"])
                client.plugin_stop(name)
                time.sleep(_QUIET)
            client.plugin_start(name)
            call_plugin(client, name, page)
            (pid,) = [each["pid"] for each in client.plugin_health(name)]
            title = _KINDS[name.partition("-")[0]]
            lines.append(Line(f"{title}, start to READY", statistics.median(took), "ms", goal=5.0))
            private = sum(memory(pid)[field] for field in ("Private_Clean", "Private_Dirty")) / MB
            lines.append(
                Line(
                    f"{title}, private memory",
                    private,
                    "MB",
                    goal=LUA_MEMORY if "Lua" in title and _IS_IMMORTAL else None,
                )
            )
    return lines if program else [*lines, missing("Rust plugin, start to READY", "Rust", "no cargo")]


def beside_go_plugin(run: Run, goal: float, *, small: bool = False) -> list[Line]:
    """The same from a client's side: asked to start a plugin until it has answered a first call; both in turn. `small`:
    a plugin of twenty lines, as go-plugin's is."""
    work = f"{_KINDS['small' if small else 'seo']}, asked to start until its first answer"
    with (
        _site(1, 0, None, small=small, in_memory=True) as (place, names),
        running(place),
        Client(place.socket) as client,
    ):
        name = names[-1]
        page = create_page(client)

        def ours() -> float:
            seconds = timed(lambda: (client.plugin_start(name), call_plugin(client, name, page)))
            client.plugin_stop(name)
            return seconds * 1000

        def alone(start: Measure) -> Measure:
            def measure() -> float:
                time.sleep(_QUIET)
                return start()

            return measure

        measures = {"reed": alone(ours)}
        for transport in ("net/rpc", "gRPC"):
            peer = f"go-plugin, {transport}"
            host = run.peers.take(
                peer, lambda kind=transport: run.peers.go_plugin(kind.rpartition("/")[2].lower(), 1024)
            )  # type: ignore[misc]
            if host is not None:
                measures[peer] = alone(lambda host=host: host("start") / 1000)  # type: ignore[misc]
        figures = interleaved(measures, run.rounds)
    mine = figures.pop("reed")
    lines = [Line(work, mine, "ms", peer, theirs, goal) for peer, theirs in figures.items()]
    return lines + [missing(work, peer, why) for peer, why in run.peers.absent.items() if peer.startswith("go-plugin")]


def together(lua: int, rust: int, program: bytes | None) -> list[Line]:
    """All of these started at once; each answers a call; and what they hold."""
    rust = rust if program else 0
    held, answered, again = fleet(lua, rust, program)
    return [
        Line(f"{lua} Lua + {rust} Rust plugins, memory of all (PSS)", held, "MB"),
        Line("  from the core's start until each has answered", answered, "s"),
        Line("  and each once more, one after another", again, "s"),
    ]


def fleet(lua: int, rust: int, program: bytes | None, python: list[str] | None = None) -> tuple[float, float, float]:
    """A core with so many plugins: MB of all processes, and seconds until each has answered, and answered again."""
    with _site(lua, rust, program, auto_start=True) as (place, names):
        place.python = python or place.python
        with running(place) as core, Client(place.socket) as client:
            page = create_page(client)
            answered = timed(lambda: _all_answer(client, names, page))
            again = timed(lambda: _all_answer(client, names, page))
            return sum(memory(pid)["Pss"] for pid in family(core.pid)) / MB, answered, again


def mesh(run: Run, count: int) -> list[Line]:
    """A mesh of so many plugins, without a core: made with its links, then held as if all of them ran."""
    folder = run.folder / f"mesh-{count}"
    for place in ("fifos", "peers"):
        (folder / place).mkdir(parents=True)
    names = [f"plugin-{number}" for number in range(count)]
    loop = Loop(on_exception=print)
    log = PeerLog(logging.getLogger("bench"), loop)
    made = Mesh(folder / "fifos", folder / "peers", loop, lambda _: None, log)
    making = timed(lambda: [made.add(name) for name in names]) * 1000
    holding = timed(lambda: [made.set_running(name, True) for name in names]) * 1000
    fifos = made.held
    made.close()
    return [
        Line(f"mesh of {count} plugins: {fifos} FIFOs and their links, made", making, "ms"),
        Line("  and held, as while all run", holding, "ms"),
    ]


def memory(pid: int) -> dict[str, int]:
    """Bytes by field of /proc/PID/smaps_rollup; none of a process that has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return {"Pss": 0}
    return {field: int(size) * 1024 for field, size in re.findall(r"^(\w+): +(\d+) kB$", text, re.MULTILINE)}


def family(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield from family(int(child))


def create_page(client: Client) -> str:
    """A snippet to validate: its id."""
    client.registry_define("page", PAGE_TYPE)
    return client.snippet_create("page", "", PAGE)


def _all_answer(client: Client, names: Sequence[str], page: str) -> None:
    for name in names:
        call_plugin(client, name, page)


def call_plugin(client: Client, name: str, page: str) -> None:
    action, data = ("greet", "a word") if name.startswith("hello") else ("validate", page)
    answer = client.plugin_send(name, action, data)
    assert answer.status == 200, answer


@contextmanager
def _site(
    lua: int,
    rust: int,
    program: bytes | None,
    *,
    small: bool = False,
    auto_start: bool = False,
    in_memory: bool = False,
) -> Iterator[tuple[Site, list[str]]]:
    """A site with so many plugins of each type, and their names."""
    names = [f"seo-{number}" for number in range(lua)] + ["small-0"] * small
    names += [f"hello-{number}" for number in range(rust)]
    with site(in_memory=in_memory) as place:
        place.set_rows([(name, "native" if name.startswith("hello") else "lua") for name in names])
        if auto_start:
            place.registry.write_text(place.registry.read_text().replace(",false,", ",true,"))
        for name in names:
            add_plugin(place, name, program)
        yield place, names


def add_plugin(place: Site, name: str, program: bytes | None) -> None:
    if name == "small-0":
        place.add_lua(name, _SMALL, "actions:\n  validate: {command_id: 1, input: snippet}\n")
        return
    folder = place.plugins / name
    if program is not None and name.startswith("hello"):
        folder.mkdir()
        (folder / "plugin.yaml").write_text(f"name: {name}\nversion: 1.0.0\n{_HELLO}")
        (folder / name).write_bytes(program)
        (folder / name).chmod(0o755)
        return
    shutil.copytree(_SEO, folder)
    for file in ("plugin.yaml", "main.lua"):
        text = (folder / file).read_text().replace("simple-seo", name).replace("1.2.0", "1.0.0")
        (folder / file).write_text(text)
