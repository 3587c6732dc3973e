"""monitor.sock for one viewer of a page: frames that match a filter, decoded, a bounded number at a time.

monitor.sock ── read without pause, or the core closes it ── filter ── at most MAX_SHOWN of each batch are decoded
                                                                    └─ the others are only counted
"""

from __future__ import annotations

import asyncio
import base64
import socket
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from reed.errors import CoreNotRunning, Malformed, ReedError
from reed.figures import time_of_day
from reed.runtime_paths import Address
from reed.text import safe
from reed.wire.decode import Decoded, decode, learn_actions, one_line
from reed.wire.monitor import IN, Monitored, MonitorStream

MAX_SHOWN = 100  # frames of a batch
_BATCH_SECONDS = 0.2
_CHUNK = 256 * 1024


class Filter(NamedTuple):
    peer: str = ""  # "" or the whole name
    text: str = ""  # part of the peer, or of the name of a command or action


class Watch:
    """An open connection; `close` it. Its methods raise ReedError when the core ends it."""

    def __init__(self, sock: socket.socket, actions: dict[tuple[str, int], str], chosen: Filter) -> None:
        self._sock = sock
        self._actions = actions
        self._filter = chosen
        self._stream = MonitorStream()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @classmethod
    def open(cls, path: str, actions: dict[tuple[str, int], str], chosen: Filter) -> Watch:
        """`path` is that of monitor.sock; `actions` as `decode` takes them. Raises CoreNotRunning."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with Address(path) as address:
                sock.connect(address)
        except OSError as error:
            sock.close()
            raise CoreNotRunning(f"core not running: {path}: {error.strerror}", hint="reed start") from None
        return cls(sock, actions, chosen)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._sock.close()

    async def records(self, seconds: float) -> AsyncIterator[tuple[Monitored, bytes]]:
        """The matching frames of so many seconds, with the bytes that `reed monitor --record` writes."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                frames = await asyncio.wait_for(self._receive(), left)
            except TimeoutError:
                return
            for frame, raw in frames:
                if self._decoded(frame) is not None:
                    yield frame, raw

    async def batches(self) -> AsyncIterator[dict[str, Any]]:
        """{"frames": […], "left_out": how many more matched}, at most five a second."""
        while True:
            frames = await self._receive()
            batch: dict[str, Any] = {"frames": [], "left_out": 0}
            until = time.monotonic() + _BATCH_SECONDS
            while frames:
                self._add(batch, frames)
                try:
                    frames = await asyncio.wait_for(self._receive(), max(until - time.monotonic(), 0))
                except TimeoutError:
                    break
            if batch["frames"] or batch["left_out"]:
                yield batch

    def describe(self, frame: Monitored) -> dict[str, str]:
        decoded = decode(frame, self._actions)
        return {
            "at": time_of_day(frame.timestamp),
            "peer": safe(f"{frame.peer}#{frame.connection}"),
            "way": "to core" if frame.direction == IN else "from core",
            "kind": decoded.kind,
            "what": safe(decoded.what),
            "fields": safe(one_line(decoded.fields)),
        }

    def _add(self, batch: dict[str, Any], frames: list[tuple[Monitored, bytes]]) -> None:
        for frame, raw in frames:
            if self._decoded(frame) is None:
                continue
            if len(batch["frames"]) < MAX_SHOWN:
                batch["frames"].append({**self.describe(frame), "raw": base64.b64encode(raw).decode()})
            else:
                batch["left_out"] += 1

    def _decoded(self, frame: Monitored) -> Decoded | None:
        """None if the filter does not match."""
        learn_actions(self._actions, frame)
        if self._filter.peer not in ("", frame.peer):
            return None
        decoded, wanted = decode(frame, self._actions), self._filter.text.lower()
        return decoded if wanted in decoded.what.lower() or wanted in frame.peer.lower() else None

    async def _receive(self) -> list[tuple[Monitored, bytes]]:
        """What has arrived. A StreamReader, since data is not lost when waiting for it is cancelled."""
        if self._reader is None:
            self._reader, self._writer = await asyncio.open_unix_connection(sock=self._sock, limit=_CHUNK)
        data = await self._reader.read(_CHUNK)
        if not data:
            hint = "it stopped, this page read too slowly, or the user of reed web is not in the group admin"
            raise ReedError("the core closed the monitor", hint=hint)
        try:
            return list(self._stream.feed(data))
        except Malformed as error:
            raise ReedError(f"monitor.sock: {error.message}") from None
