"""The local time of this machine, with its changes to daylight saving time, as the C library knows it.

A `tzinfo` from `datetime.astimezone()` has one fixed offset; this one has the offset of each moment. TZ may name a
zone, or be a rule such as CET-1CEST,M3.5.0,M10.5.0/3.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo


class _LocalTime(tzinfo):
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
