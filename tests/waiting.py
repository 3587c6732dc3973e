"""Waiting for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from reed.client import Client

T = TypeVar("T")


def until(condition: Callable[[], T], what: object = "", timeout: float = 30.0) -> T:
    """Ask until `condition` returns something true, and return that. `what` is the text of the failure, or makes it."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.005)
    return found


def figures(client: Client, name: str) -> dict[str, Any]:
    """The entry of a plugin in PLUGIN_HEALTH."""
    return client.plugin_health(name)[0]


def until_state(client: Client, name: str, state: str) -> dict[str, Any]:
    """Wait for a plugin's state, and return its figures."""
    return until(lambda: now if (now := figures(client, name))["state"] == state else {}, lambda: figures(client, name))
