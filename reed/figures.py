"""Figures as people read them, in the command line and on the pages of `reed web`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def size(count: int) -> str:
    """ "812 KB"."""
    number = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if number >= 10 or unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TB"


def duration(seconds: float) -> str:
    """ "4.2 s", "3 min", "2 h 5 min", "3 d 4 h"."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def milliseconds(value: float) -> str:
    return f"{value:.1f} ms"


def plural(count: int, thing: str) -> str:
    """ "1 snippet", "2 snippets"."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def plurals(counts: Mapping[str, int], *things: str) -> str:
    """ "2 snippets, 1 type", of {"snippets": 2, "types": 1}."""
    return ", ".join(plural(counts.get(f"{thing}s", 0), thing) for thing in things)


def pool(state: Mapping[str, int]) -> str:
    """ "2 of 2 busy, 3 jobs waiting, 120 done, 1 killed by deadline"."""
    text = f"{state['busy']} of {state['most']} busy, {plural(state['waiting'], 'job')} waiting, {state['done']:,} done"
    ends = {
        "killed by deadline": state["killed_by_deadline"],
        "killed by memory": state["killed_by_memory"],
        "died": state["died"],
    }
    return text + "".join(f", {count} {how}" for how, count in ends.items() if count)


def database(store: Mapping[str, Any]) -> str:
    """ "service=site, 0.1 s behind, 4 connections", of PostgreSQL in SYSTEM_STATS."""
    state = f"{store['lag_seconds']:.1f} s behind" if store["is_connected"] else "not connected"
    return f"{store['path']}, {state}, {plural(store['connections'], 'connection')}"


def other_core(core: Mapping[str, Any]) -> str:
    """ "reed 0.2.0, up 3 min": a core on the same store."""
    differs = f"; not the same rows: {', '.join(core['differs'])}" if core["differs"] else ""
    return f"reed {core['version']}, up {duration(core['uptime_seconds'])}{differs}"


def timestamp(microseconds: int) -> str:
    """Local time: "2026-03-01 14:05:09"."""
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(microseconds / 1e6))


def time_of_day(microseconds: int) -> str:
    """Local time: "14:05:09.000123"."""
    import time

    return f"{time.strftime('%H:%M:%S', time.localtime(microseconds // 1_000_000))}.{microseconds % 1_000_000:06d}"


def local_time(written: str | None) -> str:
    """A time of the core, in its own time zone: "2026-03-29 03:00:00"."""
    return written[:19].replace("T", " ") if written else "-"
