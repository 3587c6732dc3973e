"""When a schedule of plugin.yaml is due. Times are seconds since 1970, by the wall clock.

    rule                            due
    cron "MINUTE HOUR DAY MONTH WEEKDAY"    at these local times, after the last due time and after now
    every SECONDS                   the interval after the last due time; after the run if that began late

    local time                      a cron line for one time of day       a cron line with * as minute or hour
    the clock is set forward        a time that is left out: right after  is not due in the hour that is left out
    the clock is set back           due once                              due in both hours

Cron lines are read by the library cronsim, which is imported only for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from math import floor
from typing import Annotated, NamedTuple

from reed.config import PluginConfig, ScheduleConfig
from reed.document import Node
from reed.errors import ConfigError, ManifestError, ReedError, nearest
from reed.readers import boolean, interval, record, text

DAY = 86400.0
LATE_SECONDS = 60.0  # if a run begins later than this, `every` counts from its begin, not from its due time
_CRON_FIELDS = 5
_INSTALL = "pip install 'reed-cms[schedules]'"


class _LocalTime(tzinfo):
    """The local time of this machine, with its changes to daylight saving time, as the C library knows it.

    A `tzinfo` from `datetime.astimezone()` has one fixed offset; this one has the offset of each moment. TZ may name a
    zone, or be a rule such as CET-1CEST,M3.5.0,M10.5.0/3.
    """

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        if when is None:
            return None
        naive = when.replace(tzinfo=None)
        return naive - datetime.fromtimestamp(naive.timestamp(), UTC).replace(tzinfo=None)

    def dst(self, _when: datetime | None) -> timedelta | None:
        return None  # not needed: the offset contains it

    def tzname(self, when: datetime | None) -> str | None:
        return None if when is None else when.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, when: datetime) -> datetime:
        """With `fold` 1 in the hour that the clock shows for the second time."""
        return datetime.fromtimestamp(when.replace(tzinfo=UTC).timestamp()).replace(tzinfo=self)


LOCAL_TIME = _LocalTime()


def iso(seconds: float, zone: tzinfo = LOCAL_TIME) -> str:
    """ "2026-03-29T03:00:00+02:00" of seconds since 1970."""
    return datetime.fromtimestamp(seconds, zone).isoformat(timespec="seconds")


class BadRule(ReedError):
    """A cron line that cannot be read, or is never due."""


class LibraryMissing(ReedError):
    """cronsim is not installed."""


class Rule(NamedTuple):
    """`cron` or `every`, whichever is given."""

    cron: str = ""
    every: float = 0.0

    def __str__(self) -> str:
        """ "cron 0 3 * * *", "every 6h": the store keeps it, to notice another rule."""
        return f"cron {self.cron}" if self.cron else f"every {exact_duration(self.every)}"

    def first_due(self, now: float, zone: tzinfo = LOCAL_TIME) -> float:
        """Raises BadRule and LibraryMissing, for a cron line."""
        return next_of_cron(self.cron, now, zone) if self.cron else now + self.every

    def next_due(self, due: float, began: float, now: float, zone: tzinfo = LOCAL_TIME) -> float:
        """After a run that was due at `due` and has begun at `began`; later than `now`."""
        if self.cron:
            return next_of_cron(self.cron, max(now, due) if due - now <= DAY else now, zone)
        base = due if 0 <= began - due <= min(self.every, LATE_SECONDS) else began
        base = min(base, now)
        return base + (floor((now - base) / self.every) + 1) * self.every

    def corrected(self, due: float, now: float, last_due: float, zone: tzinfo = LOCAL_TIME) -> float:
        """`due`, which is to come, or an earlier time if the clock was set back since `due` was computed.

        A time of day that the schedule was run for is not due again if the clock was set back by less than a day.
        """
        if not self.cron:
            return min(due, now + self.every)
        expected = next_of_cron(self.cron, max(now, last_due) if last_due - now <= DAY else now, zone)
        return expected if due > expected + DAY else due


def _cron(node: Node) -> str:
    line = " ".join(text(node).split())
    try:
        _check_line(line)
    except BadRule as error:
        raise node.wrong(error.message, error.hint) from None
    return line


@dataclass(frozen=True, slots=True)
class Schedule:
    """An entry of plugin.yaml, with what reed.yaml changes."""

    action: Annotated[str, text]
    cron: Annotated[str, _cron] = ""
    every: Annotated[float, interval] = 0.0
    enabled: Annotated[bool, boolean] = True
    changed_by: str = ""  # the place in reed.yaml

    @property
    def rule(self) -> Rule:
        return Rule(self.cron, self.every)


def read_schedule(node: Node) -> Schedule:
    """A value of `schedules` in plugin.yaml."""
    found = record(Schedule)(node)
    if bool(found.cron) == bool(found.every):
        raise node.wrong("expected either `cron` or `every`", 'such as {cron: "0 3 * * *", action: NAME}')
    return found


def effective(schedules: Mapping[str, Schedule], own: PluginConfig) -> dict[str, Schedule]:
    """Schedules of plugin.yaml with the changes of reed.yaml. Raises ManifestError, which names reed.yaml."""
    found = dict(schedules)
    for name, change in own.schedules.items():
        node = change.node
        if name not in found:
            hint = nearest(name, found) or f"its plugin.yaml has: {', '.join(found) or 'none'}"
            raise ManifestError(node.path, f"{node.field}: no such schedule", line=node.line, hint=hint)
        found[name] = _changed(found[name], change)
    return found


def _changed(schedule: Schedule, change: ScheduleConfig) -> Schedule:
    node = change.node
    if change.cron is not None:
        try:
            schedule = replace(schedule, cron=_cron(change.cron), every=0.0)
        except ConfigError as error:  # the plugin's error, not that of every command which reads reed.yaml
            raise ManifestError(
                error.path, error.message, line=error.line, column=error.column, hint=error.hint
            ) from None
    elif change.every is not None:
        schedule = replace(schedule, cron="", every=change.every)
    return replace(schedule, enabled=change.enabled, changed_by=f"{node.path}:{node.line}")


def problems(schedules: Mapping[str, Schedule]) -> list[str]:
    """Why schedules would not run on this machine."""
    found = []
    for name, schedule in schedules.items():
        try:
            if schedule.enabled:
                schedule.rule.first_due(0.0)
        except ReedError as error:
            found.append(f"the schedule {name} does not run: {error}")
    return found


def exact_duration(seconds: float) -> str:
    """ "6h", "90m", "1.5s"."""
    for unit, size in (("d", DAY), ("h", 3600.0), ("m", 60.0)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def _check_line(line: str) -> None:
    """Raises BadRule. Without cronsim a line of five fields passes: the plugin can do everything else, and the core
    and `reed plugin add` report the library."""
    with suppress(LibraryMissing):
        next_of_cron(line, 0.0, LOCAL_TIME)


def next_of_cron(line: str, after: float, zone: tzinfo) -> float:
    """The first time of the line after `after`. Raises BadRule and LibraryMissing."""
    fields = len(line.split())
    if fields != _CRON_FIELDS:
        hint = 'minute, hour, day of the month, month, day of the week, such as "0 3 * * *"'
        raise BadRule(f"expected five fields, found {fields}: {line!r}", hint=hint)
    try:
        from cronsim import CronSim, CronSimError
    except ImportError:
        raise LibraryMissing("cron lines need the library cronsim", hint=f"{_INSTALL}, or use `every`") from None
    try:
        times = CronSim(line, datetime.fromtimestamp(after, zone))
    except CronSimError as error:
        raise BadRule(f"no cron line: {error}: {line!r}", hint="see `man 5 crontab`") from None
    for when in times:  # cronsim may begin with the first of two equal local times, which is over
        due: float = when.timestamp()
        if due > after:
            return due
    raise BadRule(f"{line!r} is never due", hint="no date within 50 years matches it")
