"""`reed` with a core whose store answers late: python late_core.py SEED serve …

Writes and reads of names that begin with `lost/` fail, as if the store could not be reached.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from late_store import LateStore

from reed.cli import main
from reed.daemon import Daemon
from reed.errors import CallError, StoreFailed
from reed.store.base import Store

PACE = 0.03  # some milliseconds for each operation, so that those of several callers overlap

open_store = Daemon._open_store


def error_of(_operation: str, arguments: dict[str, Any]) -> CallError | None:
    name = arguments.get("name") or arguments.get("ref") or ""
    return StoreFailed("the store does not answer") if str(name).startswith("lost/") else None


def open_late(daemon: Daemon, stack: ExitStack) -> Store:
    store: Any = LateStore(open_store(daemon, stack), SEED, daemon.loop.request_commit, error_of, PACE)
    return store


if __name__ == "__main__":
    SEED = int(sys.argv.pop(1))
    Daemon._open_store = open_late  # type: ignore[method-assign]
    sys.exit(main())
