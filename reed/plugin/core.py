"""`reed`: the core's commands, the log, and the settings."""

from __future__ import annotations

from typing import Any, NoReturn

from reed.plugin.batch import Batch
from reed.plugin.failure import Error
from reed.plugin.log import Log
from reed.plugin.registry import Registry
from reed.plugin.schema import Schema
from reed.plugin.search import Search
from reed.plugin.signals import messages, signals
from reed.plugin.snippet import Snippets


class Reed:
    """`settings`: those of plugin.yaml, overridden by those of reed.yaml; RELOAD_CONFIG changes this dict in place."""

    signals = signals
    messages = messages

    def __init__(self) -> None:
        self.snippet = Snippets()
        self.schema = Schema()
        self.registry = Registry()
        self.search = Search()
        self.log = Log()
        self.settings: dict[str, Any] = {}

    def batch(self) -> Batch:
        """Many writes that are sent together: `with reed.batch() as batch: batch.snippet.create(…)`."""
        return Batch()

    def fail(self, status: int, message: str) -> NoReturn:
        """Ends the call with a status from 400 to 599."""
        raise Error(message, status=status)
