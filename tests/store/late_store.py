"""A store that answers late: the worst that reed.store.base allows, in an order that follows from a seed.

    operation ── waits some turns ── the inner store ── its answer waits some turns ── done | failed

Operations begin and end in any order, but the writes of one origin begin in theirs. Nothing is raised at once.
"""

from __future__ import annotations

import inspect
import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from reed.errors import CallError
from reed.store.base import Store
from reed.store.workers import THE_STORE, Origin

WRITES = (
    *("create", "update", "replace", "rename", "delete", "restore"),
    *("bond", "unbond", "define", "delete_type", "index"),
)
READS = (
    "preview",
    "get",
    "page",
    "find",
    "names",
    "tree",
    "definition",
    "definitions",
    "check",
    "search",
    "next_event",
    "watch_position",
    "changes_after",
)
_SIGNATURES = {name: inspect.signature(getattr(Store, name)) for name in (*WRITES, *READS)}

ErrorOf = Callable[[str, dict[str, Any]], CallError | None]  # by operation and its arguments


class LateStore:
    def __init__(
        self,
        inner: Store,
        seed: int,
        on_due: Callable[[], None],
        error_of: ErrorOf = lambda _operation, _arguments: None,
        pace: float = 1.0,
    ) -> None:
        """`on_due` is that of `inner`, too. Operations for which `error_of` gives an error fail. `pace`: the share of
        turns in which something happens."""
        self._pace = pace
        self._inner = inner
        self._on_due = on_due
        self._error_of = error_of
        self._random = random.Random(seed)
        self._writes: dict[Origin, deque[Callable[[], None]]] = {}
        self._reads: list[Callable[[], None]] = []
        self._answers: list[Callable[[], None]] = []
        self._unanswered: set[object] = set()  # writes
        self._when_idle: list[tuple[set[object], Callable[[], None]]] = []

    def __getattr__(self, name: str) -> Any:
        if name in _SIGNATURES:
            return partial(self._begin, name)
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._inner, name)  # what is not answered by a callback

    def _begin(self, operation: str, *args: Any, **options: Any) -> None:
        bound = _SIGNATURES[operation].bind(self, *args, **options)
        arguments = dict(list(bound.arguments.items())[1:])
        is_write = operation in WRITES
        write = object()
        if is_write:
            self._unanswered.add(write)

        def answer(callback: Callable[[Any], None], value: Any) -> None:
            self._answers.append(partial(finish, callback, value))
            self._on_due()

        def finish(callback: Callable[[Any], None], value: Any) -> None:
            self._unanswered.discard(write)
            callback(value)

        failed = partial(answer, arguments["failed"])
        arguments |= {"done": partial(answer, arguments["done"]), "failed": failed}

        def run() -> None:
            error = self._error_of(operation, arguments)
            try:
                if error is not None:
                    raise error
                getattr(self._inner, operation)(**arguments)
            except CallError as refusal:
                failed(refusal)

        if is_write:
            self._writes.setdefault(arguments.get("origin", THE_STORE), deque()).append(run)
        else:
            self._reads.append(run)
        self._on_due()

    @property
    def has_work(self) -> bool:
        return bool(self._inner.has_work or self._writes or self._reads or self._answers)

    def work(self, until: float) -> bool:
        if self._inner.has_work:
            self._inner.work(until)
        if self._random.random() > self._pace:
            return self.has_work
        for origin in self._chosen(list(self._writes)):
            writes = self._writes[origin]
            for _ in range(self._random.randint(1, len(writes))):
                writes.popleft()()
            if not writes:
                del self._writes[origin]
        for run in self._taken(self._reads):
            run()
        for answer in self._taken(self._answers):
            answer()
        return self.has_work

    def commit(self) -> None:
        self._inner.commit()
        for each in list(self._when_idle):
            writes, callback = each
            if not writes & self._unanswered:
                self._when_idle.remove(each)
                self._inner.when_idle(callback)

    def when_idle(self, done: Callable[[], None]) -> None:
        self._when_idle.append((set(self._unanswered), done))
        self._on_due()

    def _chosen(self, items: list[Any]) -> list[Any]:
        """Some of them, in any order."""
        return self._random.sample(items, self._random.randint(0, len(items)))

    def _taken(self, callbacks: list[Callable[[], None]]) -> list[Callable[[], None]]:
        chosen = self._chosen(list(range(len(callbacks))))
        taken = [callbacks[number] for number in chosen]
        callbacks[:] = [each for number, each in enumerate(callbacks) if number not in set(chosen)]
        return taken
