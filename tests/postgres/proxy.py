"""A network between a core and PostgreSQL that can fail: a TCP proxy on a thread of its own.

    with Proxy("127.0.0.1", cluster.port) as network:
        conninfo = cluster.conninfo(name, tcp=True, port=network.port)
        network.drop()                    a partition: nothing passes, and connections stay open; new ones get no answer
        network.drop("to_server")         one way: statements are lost on their way, answers come
        network.drop("to_client")         the other: statements are carried out and nobody learns of it
        network.heal()                    what was held back passes, as if TCP sent it again; reset=True: RST instead
        network.delay(0.3)                each piece of data takes so long, either way
        network.reset()                   RST for every connection there is
        network.refuse() network.accept() new connections are refused (RST), or accepted again
        network.cut_at(b"COMMIT", "before")    RST when these bytes come from the client, which do not pass
        network.cut_at(b"COMMIT", "after")     they pass, and the connection ends with the server's next answer, unread
        network.cut_at(b"COMMIT", "half")      what comes before them passes; they and all later ones wait for heal()
        network.cut_at(b"by_name", "answer")   they pass; what the server sends on this connection waits for heal()

        network.lose_commit()             a core's next batch is committed, and its answer lost; then nobody connects

A cut is for one occurrence; `wait_cut()` returns when it happened. Everything else holds until it is changed, and for
connections that are there already. `connections` counts those accepted so far.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Literal

Way = Literal["to_server", "to_client"]
WAYS: tuple[Way, Way] = ("to_server", "to_client")
MAX_BUFFERED = 1 << 20


class _Pair:
    """A connection of a client and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.ends: dict[Way, tuple[socket.socket, socket.socket]] = {
            "to_server": (client, server),
            "to_client": (server, client),
        }
        self.arrived: dict[Way, list[tuple[float, bytes]]] = {way: [] for way in WAYS}  # when it may pass, what
        self.has_ended: dict[Way, bool] = dict.fromkeys(WAYS, False)  # no more to read
        self.seen = b""  # the last bytes from the client, for a pattern that arrives in two pieces
        self.is_doomed = False  # its next answer ends it
        self.held = b""  # from the client, until the network is healed
        self.holds: set[Way] = set()

    def close(self, reset: bool) -> None:
        for sock in self.ends["to_server"]:
            if reset:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()


class Proxy:
    """See the module."""

    def __init__(self, host: str, port: int) -> None:
        self.connections = 0
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._pairs: set[_Pair] = set()
        self._dropped: set[Way] = set()
        self._delay = 0.0
        self._refuses = False
        self._cut: tuple[bytes, str] | None = None
        self._was_cut = threading.Event()
        self._orders: list[tuple[Callable[[], None], threading.Event]] = []
        self._lock = threading.Lock()
        self._is_over = False
        self._bell, self._ringer = os.pipe()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Called by tests; each takes effect before it returns.

    def drop(self, *ways: Way) -> None:
        self._order(lambda: self._dropped.update(ways or WAYS))

    def heal(self, *, reset: bool = False) -> None:
        def order() -> None:
            if reset:
                self._close_all()
            self._dropped.clear()
            self._delay = 0.0
            for pair in self._pairs:
                if pair.held:
                    pair.arrived["to_server"].append((0.0, pair.held))
                pair.held = b""
                pair.holds.clear()

        self._order(order)

    def delay(self, seconds: float) -> None:
        self._order(lambda: setattr(self, "_delay", seconds))

    def reset(self) -> None:
        self._order(self._close_all)

    def refuse(self) -> None:
        self._order(lambda: setattr(self, "_refuses", True))

    def accept(self) -> None:
        self._order(lambda: setattr(self, "_refuses", False))

    def cut_at(self, pattern: bytes, when: Literal["before", "after", "half", "answer"]) -> None:
        self._was_cut.clear()
        self._order(lambda: setattr(self, "_cut", (pattern, when)))

    def wait_cut(self, timeout: float = 20.0) -> None:
        assert self._was_cut.wait(timeout), f"{self._cut} did not come"

    def lose_commit(self) -> None:
        self.refuse()
        self.cut_at(b"end_batch", "after")
        self.wait_cut()
        self.reset()

    def close(self) -> None:
        if not self._is_over:
            self._order(lambda: setattr(self, "_is_over", True))
            self._thread.join()
            os.close(self._bell)
            os.close(self._ringer)

    def _order(self, what: Callable[[], None]) -> None:
        done = threading.Event()
        with self._lock:
            self._orders.append((what, done))
        os.write(self._ringer, b"!")
        assert done.wait(20), "the proxy hangs"

    # On its thread.

    def _run(self) -> None:
        while not self._is_over:
            self._turn()
            with self._lock:
                orders, self._orders = self._orders, []
            for what, done in orders:
                what()
                done.set()
        self._close_all()
        self._listener.close()

    def _turn(self) -> None:
        """Wait for what can be read, written or is due, and do it."""
        now = time.monotonic()
        due: list[float] = []
        with selectors.DefaultSelector() as selector:
            selector.register(self._bell, selectors.EVENT_READ, None)
            selector.register(self._listener, selectors.EVENT_READ, None)
            interests: dict[socket.socket, int] = {}
            owners: dict[socket.socket, _Pair] = {}
            for pair in self._pairs:
                for way, (source, target) in pair.ends.items():
                    owners[source] = pair
                    if way in self._dropped or way in pair.holds:
                        continue
                    arrived = pair.arrived[way]
                    if not pair.has_ended[way] and sum(len(data) for _, data in arrived) < MAX_BUFFERED:
                        interests[source] = interests.get(source, 0) | selectors.EVENT_READ
                    if arrived and arrived[0][0] <= now:
                        interests[target] = interests.get(target, 0) | selectors.EVENT_WRITE
                    elif arrived:
                        heapq.heappush(due, arrived[0][0])
            for sock, events in interests.items():
                selector.register(sock, events, owners[sock])
            for key, events in selector.select(max(0.0, due[0] - now) if due else None):
                if key.fileobj is self._listener:
                    self._accept_one()
                elif key.data is None:
                    os.read(self._bell, 4096)
                elif key.data in self._pairs:
                    self._serve(key.data, key.fileobj, events)  # type: ignore[arg-type]

    def _accept_one(self) -> None:
        client, _ = self._listener.accept()
        self.connections += 1
        server = socket.socket()
        try:
            if self._refuses:
                raise ConnectionRefusedError
            server.connect(self._target)  # on this machine: it answers at once
        except OSError:
            _Pair(client, server).close(reset=True)
            return
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pairs.add(_Pair(client, server))

    def _serve(self, pair: _Pair, sock: socket.socket, events: int) -> None:
        way: Way = "to_server" if pair.ends["to_server"][0] is sock else "to_client"
        other: Way = "to_client" if way == "to_server" else "to_server"
        try:
            if events & selectors.EVENT_WRITE:
                self._pass(pair, other)
            if events & selectors.EVENT_READ and pair in self._pairs:
                self._take(pair, way)
        except BlockingIOError:
            return
        except OSError:
            self._end(pair, reset=True)

    def _take(self, pair: _Pair, way: Way) -> None:
        data = pair.ends[way][0].recv(65536)
        if not data:
            pair.has_ended[way] = True
            if not pair.arrived[way]:
                self._end(pair, reset=False)
            return
        if way == "to_client" and pair.is_doomed:
            self._end(pair, reset=True)
            self._was_cut.set()
            return
        if way == "to_server" and self._cut is not None:
            pattern, when = self._cut
            pair.seen = (pair.seen + data)[-(len(data) + len(pattern)) :]
            if pattern in pair.seen:
                self._cut = None
                if when == "before":
                    self._end(pair, reset=True)
                    self._was_cut.set()
                    return
                if when == "after":
                    pair.is_doomed = True
                elif when == "answer":
                    pair.holds.add("to_client")
                    self._was_cut.set()
                else:
                    at = data.find(pattern)
                    data, pair.held = data[: max(at, 0)], data[max(at, 0) :]
                    pair.holds.add("to_server")
                    self._was_cut.set()
        pair.arrived[way].append((time.monotonic() + self._delay, data))
        if not self._delay:
            self._pass(pair, way)

    def _pass(self, pair: _Pair, way: Way) -> None:
        arrived = pair.arrived[way]
        target = pair.ends[way][1]
        while arrived and arrived[0][0] <= time.monotonic():
            due, data = arrived[0]
            try:
                sent = target.send(data)
            except BlockingIOError:
                return
            if sent < len(data):
                arrived[0] = (due, data[sent:])
                return
            arrived.pop(0)
        if not arrived and pair.has_ended[way]:
            self._end(pair, reset=False)

    def _end(self, pair: _Pair, *, reset: bool) -> None:
        self._pairs.discard(pair)
        pair.close(reset)

    def _close_all(self) -> None:
        for pair in list(self._pairs):
            self._end(pair, reset=True)
