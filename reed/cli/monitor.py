"""`reed monitor`: print or record the frames that monitor.sock reports (reed.wire.monitor)."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Iterator

from reed.cli.options import connect, runtime_dir
from reed.cli.output import Output
from reed.cli.output_file import appending
from reed.cli.parse import U32, Args, Option, Subcommand, UsageError
from reed.errors import CoreNotRunning, Malformed, PermissionDenied, ReedError
from reed.figures import time_of_day
from reed.runtime_paths import Address, used_folder
from reed.supervision.explain import plugin_named
from reed.wire.decode import Decoded, action_names, decode, learn_actions, one_line
from reed.wire.monitor import IN, Monitored, MonitorStream

_CHUNK = 256 * 1024


def monitor(args: Args, output: Output) -> None:
    only, count = args.arg("NAME"), args.number("--count")
    from_file, record = args.text("--from-file"), args.text("--record")
    if from_file and record:
        raise UsageError("--from-file cannot be combined with --record", hint="copy the file instead")
    actions = {} if from_file else _actions(args, only)
    frames = recorded(from_file) if from_file else records(_socket_chunks(args, output))
    printed = 0
    with appending(record) if record else contextlib.nullcontext() as recording:
        for frame, raw in frames:
            learn_actions(actions, frame)
            if only and frame.peer != f"plugin {only}":
                continue
            if recording is not None:
                recording.write(raw)
            _print(frame, decode(frame, actions), output)
            printed += 1
            if count and printed >= count:
                break


def records(chunks: Iterable[bytes]) -> Iterator[tuple[Monitored, bytes]]:
    """Each record, unpacked and raw; an incomplete last one is dropped."""
    stream = MonitorStream()
    for chunk in chunks:
        yield from stream.feed(chunk)


def recorded(path: str) -> Iterator[tuple[Monitored, bytes]]:
    """The records of a file written by --record."""
    with open(path, "rb") as file:
        try:
            yield from records(iter(lambda: file.read(_CHUNK), b""))
        except Malformed as error:
            raise ReedError(f"{path}: {error.message}", hint="record one with `reed monitor --record F`") from None


def _socket_chunks(args: Args, output: Output) -> Iterator[bytes]:
    path = f"{used_folder(runtime_dir(args))}/monitor.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            with Address(path) as address:
                sock.connect(address)
        except OSError as error:
            raise CoreNotRunning(
                f"core not running: {path}: {error.strerror}", hint="start it with: reed start"
            ) from None
        output.info("monitoring; Ctrl-C stops it")
        chunk = sock.recv(_CHUNK)
        if not chunk:
            raise PermissionDenied("monitor requires the group admin", hint="groups in reed.yaml")
        while chunk:
            yield chunk
            chunk = sock.recv(_CHUNK)
    raise ReedError("monitor disconnected: the core stopped, or this monitor read too slowly", hint="see core.log")


def _actions(args: Args, only: str) -> dict[tuple[str, int], str]:
    with connect(args) as core:
        plugins = core.plugin_list()
    if only:
        plugin_named(only, plugins)
    return action_names(plugins)


def _print(frame: Monitored, decoded: Decoded, output: Output) -> None:
    if output.as_json:
        about = {"timestamp": frame.timestamp, "direction": "in" if frame.direction == IN else "out"}
        about |= {"peer": frame.peer, "connection": frame.connection, "flags": frame.flags}
        output.json(about | decoded._asdict())
        output.stream.flush()
        return
    arrow = "→" if frame.direction == IN else "←"
    cells = [
        time_of_day(frame.timestamp),
        f"{frame.peer}#{frame.connection} {arrow} core",
        decoded.kind,
        decoded.what,
        one_line(decoded.fields),
    ]
    if output.is_terminal:
        output.info(f"{cells[0]}  {cells[1]:32}  {cells[2]:8}  {cells[3]:16}  {cells[4]}")
    else:
        output.rows([cells])
        output.stream.flush()


SUBCOMMANDS = {
    "monitor": Subcommand(
        monitor,
        "[NAME]",
        "Print frames as they pass, decoded; with NAME only those of that plugin",
        (
            Option("--record", "F", "write the frames to a file too"),
            Option("--from-file", "F", "print the frames of such a file instead"),
            Option("--count", "N", "stop after N frames (0, the default: never)", number=U32),
        ),
        """
Requires the group admin. Recorded calls of a plugin can be repeated:

  reed monitor simple-seo --record seo.frames
  reed plugin test simple-seo --replay seo.frames""",
    ),
}
