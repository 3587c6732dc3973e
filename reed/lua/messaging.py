"""Messages to and from other plugins (reedcms-10.md#messages; fifos.md#requests).

    send ───── Outbound ── fifos/self→B                      fifos/B→self ── Inbound ─┬─ an answer ── its request
    request ── send, wait, send again after 1, 2, 4 … s                               ├─ a repeat ── answered as before
                                                                                      └─ new ── inbox ── the host
The host waits for all FIFOs (turns.py) and gives what is in the inbox to the plugin. A message gets one answer: ACK, or
DATA if its handler gave something back, or ERROR. Nobody waits for it unless it was a request.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from reed.errors import CallError, Malformed, PluginOffline, PluginTimeout, nearest
from reed.lua.fifo import Answer, FifoPaths, Inbound, Outbound
from reed.lua.rubbish import CUT, REPEAT
from reed.wire import identifiers, strict_json
from reed.wire.codes import MessageType
from reed.wire.json_spans import member_text
from reed.wire.plugins import PluginMessage

_ANSWERS = frozenset({MessageType.RESPONSE_ACK, MessageType.RESPONSE_ERROR, MessageType.RESPONSE_DATA})
_LAST_TYPE = 255
_DEPTH = strict_json.MAX_DEPTH + strict_json.ENVELOPE
_FIRST_REPEAT = 1.0  # seconds until a request is sent again; each further pause is twice as long
_INBOX_BYTES = 1024 * 1024  # beside the newest messages; what comes beyond stays in its pipe
_INBOX_MESSAGES = 1024
_LONGEST = 3600.0  # seconds that a request may wait

Log = Callable[[bytes, bytes], None]


class _Waiting(NamedTuple):
    """The request that is waited for: a plugin has one at a time."""

    target: str
    timestamp: int


class Messaging:
    """All FIFOs of one plugin. `wait(seconds)` waits for whatever the host waits for, and reads it."""

    def __init__(self, places: FifoPaths, wait: Callable[[float], None], log: Log) -> None:
        self._plugin = places.plugin
        self._places = places
        self._wait = wait
        self._log = log
        self._looked_at = 0
        self._peers: tuple[str, ...] = ()
        self.generation = 0  # counts up when `readers` may have changed
        self._inbounds: dict[str, Inbound] = {}
        self._outbounds: dict[str, Outbound] = {}
        self._inbox: deque[PluginMessage] = deque()
        self._inbox_bytes = 0
        self._waiting: _Waiting | None = None
        self._answer: PluginMessage | None = None
        self._newest = 0  # timestamp

    # The FIFOs --------------------------------------------------------------------------------------------------------

    def begin_look(self) -> None:
        """Before the core is asked which plugins there are: FIFOs that come later will have changed something."""
        self._looked_at = self._places.changed_at()

    def look(self, peers: Iterable[str]) -> None:
        """Opens the FIFOs of these plugins to this one, and anew those that were replaced."""
        self._peers = tuple(peers)
        self.generation += 1
        for gone in self._inbounds.keys() - set(self._peers):
            self._inbounds.pop(gone).close()
        for source in self._peers:
            try:
                self._look_at(source)
            except OSError as error:
                self._log(b"error", f"no messages can come from {source}: {error}".encode())

    def has_changed(self) -> bool:
        """Whether FIFOs came or went since the last look."""
        return self._places.changed_at() != self._looked_at

    def _look_at(self, other: str) -> None:
        inbound = self._inbounds.get(other)
        if inbound is None:
            self._inbounds[other] = Inbound(self._places, other)
        else:
            inbound.renew(self._places.reading(other))
        outbound = self._outbounds.get(other)
        if outbound is not None:
            outbound.renew(self._places.writing(other))

    def readers(self) -> dict[int, str]:
        """The descriptors to wait for, and whose FIFOs they are."""
        return {inbound.fd: source for source, inbound in self._inbounds.items()}

    def is_full(self) -> bool:
        """Nothing more is read until messages were handled: the pipes hold the rest."""
        return len(self._inbox) >= _INBOX_MESSAGES or self._inbox_bytes > _INBOX_BYTES

    def blocked(self) -> list[int]:
        """The descriptors of pipes that are full, while messages wait for them."""
        if not self._outbounds:
            return []
        return [each.fd for each in self._outbounds.values() if each.waiting and not each.is_stuck]

    def is_stuck(self) -> bool:
        """Messages wait for a pipe that nobody reads: now and then `flush` tries again."""
        return bool(self._outbounds) and any(each.waiting and each.is_stuck for each in self._outbounds.values())

    def is_quiet(self) -> bool:
        """Nothing is queued, and nothing half read."""
        waits = any(each.waiting for each in self._outbounds.values())
        return not (self._inbox or waits or any(each.buffer.pending for each in self._inbounds.values()))

    def figures(self) -> dict[str, int]:
        """Messages that wait for a pipe, and bytes of torn messages that were dropped."""
        return {
            "messages_waiting": sum(each.waiting for each in self._outbounds.values()),
            "bytes_dropped": sum(each.buffer.dropped for each in self._inbounds.values()),
        }

    # In ---------------------------------------------------------------------------------------------------------------

    def receive(self, source: str) -> bool:
        """Reads one FIFO; False when it must be left alone for a while (Inbound.receive)."""
        inbound = self._inbounds[source]
        goes_on = inbound.receive()
        self._sort(inbound)
        return goes_on

    def finish(self) -> None:
        """Before the end: what was begun is read, and nothing else any more."""
        for inbound in self._inbounds.values():
            inbound.finish()
            self._sort(inbound)

    def _sort(self, inbound: Inbound) -> None:
        """Deals with the messages that were read. A repeat is answered once, however often it stands there."""
        dropped, repeats = inbound.buffer.dropped, 0
        repeated: set[int] = set()
        while (message := inbound.buffer.next_message()) is not None:
            if not inbound.is_new(message.timestamp):
                repeats += 1
                repeated.add(message.timestamp)
            elif message.message_type in _ANSWERS:
                self._take_answer(message)
            else:
                self._inbox.append(message)
                self._inbox_bytes += len(message.payload)
        for timestamp in repeated:
            self._answer_again(inbound.source, inbound.answer_to(timestamp))
        useless = inbound.buffer.dropped - dropped + REPEAT * repeats
        if useless and inbound.rubbish.add(useless):
            inbound.buffer.clear()
            what = "what is no message, or always the same one"
            self._log(b"error", f"{inbound.source} fills its FIFO with {what}: not read for {CUT:g} s".encode())

    def next_message(self) -> PluginMessage | None:
        """The next message that the plugin has to handle."""
        if not self._inbox:
            return None
        message = self._inbox.popleft()
        self._inbox_bytes -= len(message.payload)
        return message

    def _take_answer(self, message: PluginMessage) -> None:
        """Keeps it, if it is the one that is waited for."""
        if self._waiting is None or self._waiting.target != message.source_plugin:
            return
        try:
            asked = strict_json.load_object(message.payload, _DEPTH).get("in_reply_to")
        except Malformed as error:
            self._log(b"error", f"an answer of {message.source_plugin}: {error}".encode())
            return
        if asked == self._waiting.timestamp:
            self._answer = message

    # Answering --------------------------------------------------------------------------------------------------------

    def acknowledge(self, message: PluginMessage) -> None:
        self._reply(message, MessageType.RESPONSE_ACK, b'{"in_reply_to":%d}' % message.timestamp)

    def answer_with(self, message: PluginMessage, data: bytes) -> None:
        """`data` is JSON."""
        self._reply(message, MessageType.RESPONSE_DATA, b'{"in_reply_to":%d,"data":%b}' % (message.timestamp, data))

    def answer_error(self, message: PluginMessage, status: int, text: str) -> None:
        body = {"in_reply_to": message.timestamp, "status": status, "error": text}
        self._reply(message, MessageType.RESPONSE_ERROR, strict_json.dumps(body))

    def _reply(self, message: PluginMessage, message_type: int, payload: bytes) -> None:
        source = message.source_plugin
        inbound = self._inbounds.get(source)
        if inbound is not None:
            inbound.answered(message.timestamp, (message_type, payload))
        self._answer_again(source, (message_type, payload))

    def _answer_again(self, source: str, answer: Answer | None) -> None:
        """Sends an answer, if there is one yet. That it does not go out is the asker's loss: it will ask again."""
        if answer is None:
            return
        try:
            self._push(source, *answer)
        except CallError as error:
            self._log(b"warn", f"the answer to a message of {source}: {error}".encode())

    # Out --------------------------------------------------------------------------------------------------------------

    def send(self, arguments: bytes, payload: bytes) -> bytes:
        """Sends a message: true when the pipe has it, false while it is queued. Raises PluginOffline, PluginBusy."""
        target, message_type = _checked(*strict_json.loads(arguments))
        strict_json.loads(payload)
        self._push(target, message_type, payload)
        return b"false" if self._outbounds[target].waiting else b"true"

    def request(self, arguments: bytes, payload: bytes) -> bytes | None:
        """Sends a message and waits for its answer: None for ACK, the JSON of DATA; an ERROR is raised as such.

        What else comes meanwhile waits. Two plugins whose handlers ask each other wait for each other until the time
        is over. Raises PluginTimeout as well.
        """
        *address, seconds = strict_json.loads(arguments)
        target, message_type = _checked(*address)
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= _LONGEST:
            raise Malformed(f"timeout {seconds!r}", hint=f"expected a number of seconds, up to {_LONGEST:g}")
        strict_json.loads(payload)
        if target not in self._inbounds:
            self._open_answers_of(target)
        timestamp = self._push(target, message_type, payload)
        self._waiting, self._answer = _Waiting(target, timestamp), None
        try:
            self._await_answer(PluginMessage(message_type, self._plugin, target, timestamp, payload), seconds)
            if self._answer is None:
                raise PluginTimeout(f"{target} did not answer a message of type {message_type} within {seconds:g} s")
            return _read(self._answer)
        finally:
            self._waiting, self._answer = None, None

    def _await_answer(self, message: PluginMessage, seconds: float) -> None:
        """Waits, and sends the message again now and then: a reader that died may have read it."""
        now = time.monotonic()
        deadline, pause = now + seconds, _FIRST_REPEAT
        repeat_at = now + pause
        while self._answer is None and now < deadline:
            if now >= repeat_at:
                pause *= 2
                repeat_at = now + pause
                outbound = self._outbound(message.target_plugin)
                if not outbound.waiting:  # else it may not have left yet
                    outbound.push(message)
            self._wait(min(deadline, repeat_at) - now)
            now = time.monotonic()

    def _push(self, target: str, message_type: int, payload: bytes) -> int:
        """Sends a message; gives its timestamp: Unix microseconds, and never the same twice."""
        outbound = self._outbound(target)
        self._newest = max(time.time_ns() // 1000, self._newest + 1)
        outbound.push(PluginMessage(message_type, self._plugin, target, self._newest, payload))
        return self._newest

    def _outbound(self, target: str) -> Outbound:
        if target not in self._outbounds:
            try:
                self._outbounds[target] = Outbound(self._places.writing(target), target)
            except OSError as error:
                raise self._unreachable(target, error) from None
        return self._outbounds[target]

    def _open_answers_of(self, target: str) -> None:
        try:
            self._inbounds[target] = Inbound(self._places, target)
            self.generation += 1
        except OSError as error:
            raise self._unreachable(target, error) from None

    def _unreachable(self, target: str, error: OSError) -> CallError:
        if error.errno == errno.ENXIO:  # only where the sandbox does not let it read its own FIFO
            return PluginOffline(f"nobody reads the FIFO to {target}", hint=f"does {target} run?")
        if not isinstance(error, FileNotFoundError):
            return CallError(f"the FIFO to {target}: {error.strerror}")
        hint = "is there a row for it in plugin-registry.csv?"
        return PluginOffline(f"no FIFO to {target}", hint=nearest(target, self._peers) or hint)

    def flush(self) -> None:
        """Writes to the pipes that have room again. Of one that fails it tells once."""
        for target, outbound in self._outbounds.items():
            was_stuck = outbound.is_stuck
            try:
                outbound.flush()
            except CallError as error:
                if was_stuck:
                    continue
                self._log(b"error", f"messages to {target}: {error}".encode())

    def close(self) -> None:
        for inbound in self._inbounds.values():
            inbound.close()
        for outbound in self._outbounds.values():
            outbound.close()

    def give_up(self) -> None:
        """At the end: tells what did not go out."""
        for target, outbound in self._outbounds.items():
            if outbound.waiting:
                why = "nobody reads the FIFO" if outbound.is_stuck else "the FIFO is full"
                self._log(b"error", f"{outbound.waiting} messages to {target} were not sent: {why}".encode())


def _checked(target: object, message_type: object) -> tuple[str, int]:
    if not isinstance(target, str):
        raise Malformed(f"target {target!r}", hint="expected the name of a plugin")
    identifiers.check("plugin name", target)
    if isinstance(message_type, bool) or not isinstance(message_type, int) or not 0 <= message_type <= _LAST_TYPE:
        raise Malformed(f"message type {message_type!r}", hint=f"expected a whole number from 0 to {_LAST_TYPE}")
    return target, message_type


def _read(answer: PluginMessage) -> bytes | None:
    """What an answer says."""
    body = strict_json.load_object(answer.payload, _DEPTH)
    if answer.message_type == MessageType.RESPONSE_ACK:
        return None
    if answer.message_type == MessageType.RESPONSE_DATA:
        return (member_text(str(answer.payload, "utf-8"), "data") or "null").encode()  # its numbers as they are
    status, text = body.get("status"), body.get("error") or "it gave no reason"
    is_sound = isinstance(status, int) and 400 <= status <= 599
    raise CallError(f"{answer.source_plugin}: {text}", status=status if is_sound else 500)
