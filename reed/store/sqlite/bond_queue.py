"""New bonds, in the order in which they were begun.

If its check takes too many steps, a worker makes it on a snapshot. Only a new bond can make it wrong, so later bonds
wait; other writes do not: what they delete makes no cycle.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from functools import partial

from reed.errors import CallError
from reed.store.base import Failed
from reed.store.bonds import TooManySteps
from reed.store.sqlite.bonds import Bonds, NewBond
from reed.store.sqlite.files import Source
from reed.store.sqlite.transaction import Transaction
from reed.store.workers import Deadline, OrderedJobs, Origin, Workers, run

Write = Callable[[Callable[[], str]], None]  # runs an operation in the transaction of the turn


class BondQueue:
    def __init__(
        self,
        transaction: Transaction,
        source: Source,
        bonds: Bonds,
        jobs: OrderedJobs,
        workers: Workers,
        deadline: Deadline,
    ) -> None:
        """`jobs`: of all writes, whose origins wait for a bond that is away."""
        self._transaction = transaction
        self._source = source
        self._bonds = bonds
        self._jobs = jobs
        self._workers = workers
        self._deadline = deadline
        self._is_checking = False  # a worker
        self._waiting: deque[Callable[[], None]] = deque()

    def begin(self, bond: NewBond, write: Write, failed: Failed, origin: Origin) -> None:
        if self._is_checking:
            back = self._jobs.leave(origin, failed)
            self._waiting.append(lambda: back(lambda: self.begin(bond, write, failed, origin)))
            return
        try:
            pair = self._bonds.find_pair(bond)
            bond = bond._replace(parent=pair.parent.id, child=pair.child.id)
            self._bonds.check_graph(pair)
        except (sqlite3.Error, MemoryError) as error:
            raise self._transaction.database.error(error) from error
        except TooManySteps:
            self._check_in_worker(bond, write, failed, origin)
        else:
            write(lambda: self._bonds.insert(bond, pair))

    def _check_in_worker(self, bond: NewBond, write: Write, failed: Failed, origin: Origin) -> None:
        self._is_checking = True
        back = self._jobs.leave(origin, failed)

        def submit() -> None:
            arguments = (tuple(self._source), *self._bonds.graph_arguments(self._bonds.find_pair(bond)))
            self._workers.submit("check_bond", arguments, checked, refused, origin=origin, deadline=self._deadline)

        def checked(_: None) -> None:
            end(lambda: write(lambda: self._bonds.insert(bond, self._bonds.find_pair(bond))))

        def refused(error: CallError) -> None:
            end(partial(failed, error))

        def end(callback: Callable[[], None]) -> None:
            self._is_checking = False
            back(callback)
            self._begin_waiting()

        if self._transaction.is_open:  # the snapshot must have the bonds of this turn
            self._transaction.reply_at_end(lambda _: run(submit, refused), None, refused)
        else:
            run(submit, refused)

    def _begin_waiting(self) -> None:
        """Those that turn to a worker too come behind the others again."""
        for _ in range(len(self._waiting)):
            if self._workers.over_budget():
                self._workers.call_soon(self._begin_waiting)
                return
            self._waiting.popleft()()
