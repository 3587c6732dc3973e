"""GET of contents of 64 bytes to 16 MiB, beside the C echo of as many bytes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bench.measure import exchange, interleaved
from bench.peers import Missing, Peers
from bench.processes import connect, core
from bench.series import Curve, Scale
from reed.client import Client
from reed.wire import frames
from reed.wire.codes import Command
from reed.wire.structs import HEADER, RECORD, STATUS

IN_MEMORY = 1 << 20  # a content beyond the eighth part of the store's cache is read from the file each time
SIZES = (64, 1 << 10, 16 << 10, 256 << 10, 1 << 20, 4 << 20, (16 << 20) - RECORD.size - STATUS.size)
_FRAME = HEADER.size + STATUS.size + RECORD.size


def curves(scale: Scale) -> Iterator[Curve]:
    """`scale.most` is of kilobytes here."""
    ours = Curve("payloads", "GET", "bytes", "us", 1)
    ours_on_disk = Curve("payloads", "GET of what is not in memory", "bytes", "us", 1)
    theirs = Curve("payloads", "C echo of the same bytes", "bytes", "us", 1)
    with ExitStack() as stack:
        site = stack.enter_context(core())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reed-bench-")))
        client = stack.enter_context(Client(site.socket))
        client.registry_define("page", b"{}")
        sock = stack.enter_context(connect(site.socket))
        try:
            echo = Peers(folder, stack).raw("C")
        except Missing:
            echo = None
        for size in SIZES:
            if size > scale.most * 1024:
                break
            text = b'{"body":"%b"}' % (b"x" * (size - len(json.dumps({"body": ""}, separators=(",", ":")))))
            request = frames.encode(Command.SNIPPET_GET, client.snippet_create("page", "", text).encode())
            times = max(2, min(300, (16 << 20) // size))
            sides = {"reed": lambda: exchange(sock, request, _FRAME + size, times)}  # noqa: B023
            # An echo of more than a socket's buffer, to a client that sends all of it first, would lock both up.
            if echo is not None and size <= 64 << 10:
                data = bytes(_FRAME + size)
                sides["C"] = lambda: exchange(echo, data, len(data), times)  # noqa: B023
            figures = interleaved(sides, 5)
            (ours if size <= IN_MEMORY else ours_on_disk).add(size, figures["reed"])
            if "C" in figures:
                theirs.add(size, figures["C"])
    yield ours
    yield ours_on_disk
    yield theirs
