"""Handlers that a test's worker imports."""

from __future__ import annotations

import os
import time

from reed.errors import Invalid


def echo(value):
    return value


def refuse(text):
    raise Invalid(text, hint="say please")


def bug():
    raise ZeroDivisionError("of the test")


def spin():
    while True:
        pass


def fill():
    return len([bytes(1024 * 1024) for _ in range(4096)])


def wait_for(path):
    """Ends when the file is there."""
    while not os.path.exists(path):
        time.sleep(0.001)
    return path


def abort():
    os.abort()


def whoami():
    return os.getpid(), os.getpriority(os.PRIO_PROCESS, 0)
