"""Reading the registry again, a slice of each turn: hundreds of rows at once would make one turn long.

ask ── the file is read, row by row ──┬── a bad row: failed, and nothing has changed
                                      └── the plugins are changed, row by row ── done
who asks meanwhile waits for the next reading: the file may have changed since this one began
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from reed.errors import ReedError
from reed.loop.loop import Loop

Steps = Generator[None, None, None]
Done = Callable[[], None]
Failed = Callable[[ReedError], None]


class RegistryReload:
    def __init__(self, loop: Loop, steps: Callable[[], Steps]) -> None:
        """`steps` yields whenever it may be interrupted, and raises ReedError before it has changed anything."""
        self._loop = loop
        self._make_steps = steps
        self._steps: Steps | None = None
        self._asked: list[tuple[Done, Failed]] = []
        self._told: list[tuple[Done, Failed]] = []  # when the present reading ends

    def ask(self, done: Done, failed: Failed) -> None:
        self._asked.append((done, failed))
        if self._steps is None:
            self._begin()

    def _begin(self) -> None:
        self._steps = self._make_steps()
        self._told, self._asked = self._asked, []
        self._loop.add_job(self._work)

    def _work(self, until: float) -> bool:
        """Go on until about then; True while some is left."""
        assert self._steps is not None
        try:
            for _ in self._steps:
                if self._loop.now() >= until:
                    return True
        except ReedError as error:
            self._end(error)
        except Exception as bug:
            self._end(ReedError(f"a bug in the core: {type(bug).__name__}", hint="its traceback is in the log"))
            raise
        else:
            self._end(None)
        return self._steps is not None

    def _end(self, error: ReedError | None) -> None:
        self._steps = None
        told, self._told = self._told, []
        for done, failed in told:
            if error is None:
                done()
            else:
                failed(error)
        if self._asked and self._steps is None:
            self._begin()
