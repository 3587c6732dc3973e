"""JSON of callers and plugins: a short text is parsed in the loop, a long one in a worker (workers.md).

16 MB of `[[],[],…]` take seconds to parse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reed.core.filter_result import FilterResult, filter_result
from reed.errors import CallError
from reed.store.workers import Deadline, OrderedJobs, Origin, Workers, run
from reed.wire import strict_json
from reed.wire.structs import Bytes

MAX_IN_LOOP = 32 * 1024  # bytes; some 2 ms if they are many small objects
HANDLERS = {kind: f"reed.core.json_checks:{kind}" for kind in ("check_json", "parse_filter_result")}

Then = Callable[[], None]
Failed = Callable[[CallError], None]


class JsonChecks:
    """Every method raises Malformed, or gives it to `failed`, unless it calls `then`."""

    def __init__(self, workers: Workers, deadline: Deadline) -> None:
        self.inputs = OrderedJobs(workers, deadline)
        self._workers = workers
        self._deadline = deadline

    def check_input(self, text: Bytes, then: Then, failed: Failed, origin: Origin) -> None:
        """Only from an operation that was begun by `inputs.in_order`."""
        if len(text) <= MAX_IN_LOOP:
            strict_json.loads(text)
            then()
        else:
            self.inputs.submit("check_json", (bytes(text),), lambda _: then(), failed, origin)

    def check_answer(self, text: Bytes, then: Then, failed: Failed, plugin: str) -> None:
        if len(text) <= MAX_IN_LOOP:
            strict_json.loads(text)
            then()
        else:
            self._submit("check_json", (bytes(text),), lambda _: then(), failed, plugin)

    def filter_result(
        self, status: int, body: Bytes, then: Callable[[FilterResult], None], failed: Failed, plugin: str
    ) -> None:
        if len(body) <= MAX_IN_LOOP:
            then(filter_result(status, body))
        else:
            arguments = (status, bytes(body))
            self._submit("parse_filter_result", arguments, lambda found: then(FilterResult(*found)), failed, plugin)

    def _submit(
        self, kind: str, arguments: tuple[Any, ...], done: Callable[[Any], None], failed: Failed, plugin: str
    ) -> None:
        self._workers.submit(
            kind,
            arguments,
            lambda found: run(lambda: done(found), failed),
            failed,
            origin=Origin(f"plugin {plugin}", 0, plugin),
            deadline=self._deadline,
        )


# In a worker.


def check_json(text: bytes) -> None:
    strict_json.loads(text)


def parse_filter_result(status: int, body: bytes) -> tuple[bytes | None, tuple[str, ...]]:
    found = filter_result(status, body)
    return found.content, found.reasons
