"""`reed monitor`: the frames as they pass between the core, its callers and its plugins.

monitor.sock ─┐
              ├─ records (reed.wire.monitor) ─┬─ decoded ── a line each, or JSON
--read F ─────┘                               └─ --record F, as they came
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

from reed.cli.decode import Decoded, decode
from reed.cli.options import connect, runtime_dir
from reed.cli.output import Output
from reed.cli.parse import COUNT, Args, Form, Option, UsageError
from reed.cli.target import appending
from reed.errors import CoreNotRunning, Malformed, PermissionDenied, PluginNotFound, ReedError, nearest
from reed.runtime_paths import Address, used_folder
from reed.wire.codes import Command
from reed.wire.monitor import IN, Monitored

_PIECE = 256 * 1024
_WIDEST = 400  # characters of one field on a terminal


def monitor(args: Args, output: Output) -> int:
    """Until Ctrl-C, the end of the file, or `--count` frames."""
    only, count = args.word("NAME"), args.number("--count")
    read, record = args.text("--read"), args.text("--record")
    if read and record:
        raise UsageError("--read and --record do not go together", hint="a recorded file can be copied")
    actions = {} if read else _actions(args, only)
    pieces = _file_pieces(read) if read else _socket_pieces(args, output)
    seen = 0
    with appending(record) if record else contextlib.nullcontext() as kept:
        for frame, raw in records(pieces):
            _learn(actions, frame)
            if only and frame.peer != f"plugin {only}":
                continue
            if kept is not None:
                kept.write(raw)
            _show(frame, decode(frame, actions), output)
            seen += 1
            if count and seen >= count:
                break
    return 0


def records(pieces: Iterator[bytes]) -> Iterator[tuple[Monitored, memoryview]]:
    """Each record, decoded and as it came; a torn last one of a file that was cut off is left out."""
    rest = b""
    for piece in pieces:
        view = memoryview(rest + piece)
        while True:
            frame, after = Monitored.unpack_from(view)
            if frame is None:
                break
            yield frame, view[: len(view) - len(after)]
            view = after
        rest = bytes(view)


def read_file(path: str) -> Iterator[Monitored]:
    """The frames of a file that --record wrote; ReedError names the file when it is none."""
    try:
        for frame, _ in records(_file_pieces(path)):
            yield frame
    except Malformed as error:
        raise ReedError(f"{path}: {error.message}", hint="record one by `reed monitor --record F`") from None


def _file_pieces(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _socket_pieces(args: Args, output: Output) -> Iterator[bytes]:
    path = f"{used_folder(runtime_dir(args))}/monitor.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            with Address(path) as address:
                sock.connect(address)
        except OSError as error:
            raise CoreNotRunning(f"no core answers on {path}: {error.strerror}", hint="reed start") from None
        output.say("monitoring; Ctrl-C ends it")
        piece = sock.recv(_PIECE)
        if not piece:
            raise PermissionDenied("the core lets only the group admin monitor", hint="groups in reed.yaml")
        while piece:
            yield piece
            piece = sock.recv(_PIECE)
    raise ReedError("the core ended, or closed this monitor because it was too slow", hint="see core.log")


def _actions(args: Args, only: str) -> dict[tuple[str, int], str]:
    """The names of all actions by plugin and command id; PluginNotFound when there is no plugin `only`."""
    with connect(args) as core:
        plugins = core.plugin_list()
    names = [plugin["name"] for plugin in plugins]
    if only and only not in names:
        raise PluginNotFound(f"no plugin {only}", hint=nearest(only, names) or "`reed plugin list` shows them")
    return {
        (plugin["name"], action["command_id"]): name for plugin in plugins for name, action in plugin["actions"].items()
    }


def _learn(actions: dict[tuple[str, int], str], frame: Monitored) -> None:
    """A plugin that registers tells the names of its actions."""
    decoded = decode(frame, {}) if frame.command_id == Command.PLUGIN_REGISTER and frame.direction == IN else None
    manifest = decoded.fields.get("manifest") if decoded else None
    for name, action in (manifest.get("actions") or {}).items() if isinstance(manifest, dict) else ():
        if isinstance(action, dict) and isinstance(action.get("command_id"), int):
            actions[frame.peer.removeprefix("plugin "), action["command_id"]] = name


def _show(frame: Monitored, decoded: Decoded, output: Output) -> None:
    if output.as_json:
        about = {"timestamp": frame.timestamp, "direction": "in" if frame.direction == IN else "out"}
        about |= {"peer": frame.peer, "connection": frame.connection, "flags": frame.flags}
        output.json(about | decoded._asdict())
        output.stream.flush()
        return
    at = time.strftime("%H:%M:%S", time.localtime(frame.timestamp // 1_000_000))
    arrow = "→" if frame.direction == IN else "←"
    cells = [
        f"{at}.{frame.timestamp % 1_000_000:06d}",
        f"{frame.peer}#{frame.connection} {arrow} core",
        decoded.kind,
        decoded.what,
        " ".join(f"{name}={_shown(value)}" for name, value in decoded.fields.items() if value != ""),
    ]
    if output.is_terminal:
        output.say(f"{cells[0]}  {cells[1]:32}  {cells[2]:8}  {cells[3]:16}  {cells[4]}")
    else:
        output.rows([cells])
        output.stream.flush()


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}… ({len(text)} characters)"


FORMS = {
    "monitor": Form(
        monitor,
        "[NAME]",
        "Show the frames as they pass, decoded; with NAME those of that plugin alone",
        (
            Option("--record", "F", "keep them in a file too, as they came"),
            Option("--read", "F", "show those of such a file instead"),
            Option("--count", "N", "end after N frames (0, the default: never)", number=COUNT),
        ),
        """
It is for the group admin. What is recorded from a plugin can be played to it again:

  reed monitor simple-seo --record seo.frames
  reed plugin test simple-seo --replay seo.frames""",
    ),
}
