"""Messages to and from other plugins (reedcms-10.md#messages; fifos.md#requests).

Each message gets one answer: ACK, DATA if its handler returned something, or ERROR. Only a request waits for it.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from reed.errors import CallError, Malformed, PluginOffline, PluginTimeout, nearest
from reed.plugin_host.fifo import (
    BLOCK_SECONDS,
    MAX_QUEUED,
    MAX_QUEUED_BYTES,
    REPEAT_COST,
    Answer,
    FifoPaths,
    Inbound,
    Outbound,
)
from reed.wire import identifiers, strict_json
from reed.wire.codes import MessageType
from reed.wire.json_spans import member_text
from reed.wire.plugins import PluginMessage

_ANSWERS = frozenset({MessageType.RESPONSE_ACK, MessageType.RESPONSE_ERROR, MessageType.RESPONSE_DATA})
_MAX_TYPE = 255
_DEPTH = strict_json.MAX_DEPTH + strict_json.ENVELOPE
_FIRST_REPEAT = 1.0  # the pause doubles each time
_MAX_TIMEOUT = 3600.0

Log = Callable[[bytes, bytes], None]


class _PendingRequest(NamedTuple):
    target: str
    timestamp: int


class Messaging:
    """`wait(seconds)` polls and reads as the host does between jobs."""

    def __init__(self, paths: FifoPaths, wait: Callable[[float], None], log: Log, chunk: memoryview) -> None:
        self._plugin = paths.plugin
        self._paths = paths
        self._wait = wait
        self._log = log
        self._chunk = chunk
        self._checked = 0  # FifoPaths.changed_at()
        self._peers: tuple[str, ...] = ()
        self.generation = 0  # counts up when `readers` may have changed
        self._inbounds: dict[str, Inbound] = {}
        self.outbounds: dict[str, Outbound] = {}
        self.inbox: deque[PluginMessage] = deque()
        self._inbox_bytes = 0
        self._pending: _PendingRequest | None = None
        self._answer: PluginMessage | None = None
        self._last_timestamp = 0

    # The FIFOs

    def mark_checked(self) -> None:
        """Before the core is asked for its plugins, so that a later FIFO counts as a change."""
        self._checked = self._paths.changed_at()

    def has_changed(self) -> bool:
        return self._paths.changed_at() != self._checked

    def refresh(self, peers: Iterable[str]) -> None:
        """Opens new and replaced FIFOs."""
        self._peers = tuple(peers)
        self.generation += 1
        for gone in self._inbounds.keys() - set(self._peers):
            os.close(self._inbounds.pop(gone).fd)
        for source in self._peers:
            try:
                self._refresh_one(source)
            except OSError as error:
                self._log(b"error", f"cannot receive messages from {source}: {error}".encode())

    def _refresh_one(self, other: str) -> None:
        inbound = self._inbounds.get(other)
        if inbound is None:
            self._inbounds[other] = Inbound(self._paths, other, self._chunk)
        else:
            inbound.reopen(self._paths.open_from(other))
        outbound = self.outbounds.get(other)
        if outbound is not None:
            outbound.reopen(self._paths.open_to(other))

    def readers(self) -> dict[int, str]:
        return {inbound.fd: source for source, inbound in self._inbounds.items()}

    def is_full(self) -> bool:
        return len(self.inbox) >= MAX_QUEUED or self._inbox_bytes > MAX_QUEUED_BYTES

    def writers(self) -> list[int]:
        if not self.outbounds:
            return []
        return [each.fd for each in self.outbounds.values() if each.queued and not each.is_broken]

    def has_unsent(self) -> bool:
        return any(each.queued for each in self.outbounds.values())

    def must_retry(self) -> bool:
        """A broken pipe has a queue, which `flush` must retry."""
        return bool(self.outbounds) and any(each.queued and each.is_broken for each in self.outbounds.values())

    def is_idle(self) -> bool:
        return not (self.inbox or self.has_unsent() or any(each.buffer.pending for each in self._inbounds.values()))

    def metrics(self) -> dict[str, int]:
        return {
            "messages_waiting": sum(each.queued for each in self.outbounds.values()),
            "bytes_dropped": sum(each.buffer.dropped for each in self._inbounds.values()),
        }

    def close(self) -> None:
        for fd in [each.fd for each in self._inbounds.values()] + [each.fd for each in self.outbounds.values()]:
            os.close(fd)

    # Receiving

    def receive(self, source: str) -> bool:
        inbound = self._inbounds[source]
        readable = inbound.receive()
        self._sort(inbound)
        return readable

    def drain(self) -> None:
        for inbound in self._inbounds.values():
            inbound.drain()
            self._sort(inbound)

    def _sort(self, inbound: Inbound) -> None:
        """A repeat is answered once, however often it was read."""
        dropped, repeats = inbound.buffer.dropped, 0
        repeated: set[int] = set()
        while (message := inbound.buffer.next_message()) is not None:
            if not inbound.is_new(message.timestamp):
                repeats += 1
                repeated.add(message.timestamp)
            elif message.message_type in _ANSWERS:
                self._accept_answer(message)
            else:
                self.inbox.append(message)
                self._inbox_bytes += len(message.payload)
        for timestamp in repeated:
            self._send_answer(inbound.source, inbound.answer_to(timestamp))
        junk = inbound.buffer.dropped - dropped + REPEAT_COST * repeats
        if junk and inbound.junk.add(junk):
            inbound.buffer.clear()
            text = (
                f"{inbound.source} floods its FIFO with invalid or repeated messages: not read for {BLOCK_SECONDS:g} s"
            )
            self._log(b"error", text.encode())

    def next_message(self) -> PluginMessage | None:
        if not self.inbox:
            return None
        message = self.inbox.popleft()
        self._inbox_bytes -= len(message.payload)
        return message

    def _accept_answer(self, message: PluginMessage) -> None:
        if self._pending is None or self._pending.target != message.source_plugin:
            return
        try:
            in_reply_to = strict_json.load_object(message.payload, _DEPTH).get("in_reply_to")
        except Malformed as error:
            self._log(b"error", f"malformed answer from {message.source_plugin}: {error}".encode())
            return
        if in_reply_to == self._pending.timestamp:
            self._answer = message

    # Replying

    def reply_ack(self, message: PluginMessage) -> None:
        self._reply(message, MessageType.RESPONSE_ACK, b'{"in_reply_to":%d}' % message.timestamp)

    def reply_data(self, message: PluginMessage, data: bytes) -> None:
        self._reply(message, MessageType.RESPONSE_DATA, b'{"in_reply_to":%d,"data":%b}' % (message.timestamp, data))

    def reply_error(self, message: PluginMessage, status: int, text: str) -> None:
        body = {"in_reply_to": message.timestamp, "status": status, "error": text}
        self._reply(message, MessageType.RESPONSE_ERROR, strict_json.dumps(body))

    def _reply(self, message: PluginMessage, message_type: int, payload: bytes) -> None:
        source = message.source_plugin
        inbound = self._inbounds.get(source)
        if inbound is not None:
            inbound.remember(message.timestamp, (message_type, payload))
        self._send_answer(source, (message_type, payload))

    def _send_answer(self, source: str, answer: Answer | None) -> None:
        """A failure is only logged: the sender repeats its request."""
        if answer is None:
            return
        try:
            self._push(source, *answer)
        except CallError as error:
            self._log(b"warn", f"cannot answer a message from {source}: {error}".encode())

    # Sending

    def send(self, arguments: bytes, payload: bytes) -> bytes:
        """`arguments` is the JSON [target, type]. True if the pipe has the message, false if it is queued.

        Raises PluginOffline, PluginBusy, TooLarge, Malformed.
        """
        target, message_type = _checked(*strict_json.loads(arguments))
        strict_json.loads(payload)
        self._push(target, message_type, payload)
        return b"false" if self.outbounds[target].queued else b"true"

    def request(self, arguments: bytes, payload: bytes) -> bytes | None:
        """`arguments` is the JSON [target, type, seconds]. None for ACK, JSON for DATA.

        Everything else that arrives waits, so two plugins whose handlers request each other both time out. Raises
        CallError for ERROR, PluginTimeout, and as `send`.
        """
        *address, seconds = strict_json.loads(arguments)
        target, message_type = _checked(*address)
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= _MAX_TIMEOUT:
            raise Malformed(f"timeout {seconds!r}", hint=f"expected a number of seconds, up to {_MAX_TIMEOUT:g}")
        strict_json.loads(payload)
        if target not in self._inbounds:
            self._open_inbound(target)
        timestamp = self._push(target, message_type, payload)
        self._pending, self._answer = _PendingRequest(target, timestamp), None
        try:
            self._await_answer(PluginMessage(message_type, self._plugin, target, timestamp, payload), seconds)
            if self._answer is None:
                raise PluginTimeout(f"{target} did not answer a message of type {message_type} within {seconds:g} s")
            return _result(self._answer)
        finally:
            self._pending, self._answer = None, None

    def _await_answer(self, message: PluginMessage, seconds: float) -> None:
        """Repeats the message: a reader that died may have read it."""
        now = time.monotonic()
        deadline, pause = now + seconds, _FIRST_REPEAT
        repeat_at = now + pause
        while self._answer is None and now < deadline:
            if now >= repeat_at:
                pause *= 2
                repeat_at = now + pause
                outbound = self._outbound(message.target_plugin)
                if not outbound.queued:  # else it may still be in the queue
                    outbound.push(message)
            self._wait(min(deadline, repeat_at) - now)
            now = time.monotonic()

    def _push(self, target: str, message_type: int, payload: bytes) -> int:
        """Returns the timestamp: Unix microseconds, strictly increasing."""
        outbound = self._outbound(target)
        self._last_timestamp = max(time.time_ns() // 1000, self._last_timestamp + 1)
        outbound.push(PluginMessage(message_type, self._plugin, target, self._last_timestamp, payload))
        return self._last_timestamp

    def _outbound(self, target: str) -> Outbound:
        if target not in self.outbounds:
            try:
                self.outbounds[target] = Outbound(self._paths.open_to(target), target)
            except OSError as error:
                raise self._unreachable(target, error) from None
        return self.outbounds[target]

    def _open_inbound(self, target: str) -> None:
        try:
            self._inbounds[target] = Inbound(self._paths, target, self._chunk)
            self.generation += 1
        except OSError as error:
            raise self._unreachable(target, error) from None

    def _unreachable(self, target: str, error: OSError) -> CallError:
        if error.errno == errno.ENXIO:  # as BrokenPipeError in Outbound.flush
            return PluginOffline(f"nobody reads the FIFO to {target}", hint=f"is {target} running?")
        if not isinstance(error, FileNotFoundError):
            return CallError(f"the FIFO to {target}: {error.strerror}")
        hint = "is there a row for it in plugin-registry.csv?"
        return PluginOffline(f"no FIFO to {target}", hint=nearest(target, self._peers) or hint)

    def flush(self) -> None:
        """Logs only the first failure of a pipe."""
        for target, outbound in self.outbounds.items():
            was_broken = outbound.is_broken
            try:
                outbound.flush()
            except CallError as error:
                if not was_broken:
                    self._log(b"error", f"messages to {target}: {error}".encode())

    def log_unsent(self) -> None:
        for target, outbound in self.outbounds.items():
            if outbound.queued:
                why = "nobody reads the FIFO" if outbound.is_broken else "the FIFO is full"
                self._log(b"error", f"{outbound.queued} messages to {target} were not sent: {why}".encode())


def _checked(target: object, message_type: object) -> tuple[str, int]:
    if not isinstance(target, str):
        raise Malformed(f"target {target!r}", hint="expected the name of a plugin")
    identifiers.check("plugin name", target)
    if isinstance(message_type, bool) or not isinstance(message_type, int) or not 0 <= message_type <= _MAX_TYPE:
        raise Malformed(f"message type {message_type!r}", hint=f"expected an integer from 0 to {_MAX_TYPE}")
    return target, message_type


def _result(answer: PluginMessage) -> bytes | None:
    body = strict_json.load_object(answer.payload, _DEPTH)
    if answer.message_type == MessageType.RESPONSE_ACK:
        return None
    if answer.message_type == MessageType.RESPONSE_DATA:
        return (member_text(str(answer.payload, "utf-8"), "data") or "null").encode()  # keeps the digits of numbers
    status, text = body.get("status"), body.get("error") or "no reason given"
    is_valid = isinstance(status, int) and 400 <= status <= 599
    raise CallError(f"{answer.source_plugin}: {text}", status=status if is_valid else 500)
