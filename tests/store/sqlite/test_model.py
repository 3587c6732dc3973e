"""The model, with failed commits: as on a full disk, everything since the last commit is rolled back."""

from __future__ import annotations

import contextlib
import sqlite3

from harness import Driver
from hypothesis.stateful import precondition, rule
from model import Model, check
from stores import open_sqlite


class Failing(Model):
    @precondition(lambda self: self.waiting)
    @rule()
    def lose_the_turn(self) -> None:
        with contextlib.suppress(sqlite3.OperationalError):
            self.driver.store._transaction.fail(sqlite3.OperationalError("disk I/O error"))
        assert all(answer.errors for answer, _, _ in self.waiting)
        self.waiting.clear()
        self.now = self.kept
        self.kept = self.copy()


def test_a_store_whose_commits_fail_does_what_the_model_does():
    check(Failing, lambda folder: Driver(open_sqlite(folder / "reed.db", cache_bytes=8000)))
