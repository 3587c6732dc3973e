"""What a plugin asks for, in words, and what a new version asks for in addition.

plugin.yaml ── permissions, events, filters, schedules, network ──▶ Request ── lines that the operator consents to
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from reed.plugin_types.plugin_type import PluginType
from reed.supervision.manifest import Manifest
from reed.supervision.schedule import Schedule, exact_duration
from reed.wire.codes import Permission

# Each text continues "It asks to:".
_PERMISSIONS = {
    Permission.SNIPPET_READ: "read all content",
    Permission.SNIPPET_WRITE: "create, change, rename and delete content",
    Permission.SNIPPET_RESTORE: "write content with its ids, versions and times, past filters and types",
    Permission.SCHEMA_READ: "read the bonds between snippets",
    Permission.SCHEMA_WRITE: "change the bonds between snippets",
    Permission.REGISTRY_READ: "read the types",
    Permission.REGISTRY_WRITE: "define types",
    Permission.SEARCH_READ: "search the content",
    Permission.SEARCH_WRITE: "rebuild the search index",
    Permission.SYSTEM_STATS: "read the figures of the core and of all plugins",
    Permission.PLUGIN_SEND: "call actions of other plugins",
    Permission.FILE_WRITE: "write files, only in a data folder of its own",
}
_EVENTS = {
    "snippet.created": "receive an event for every new snippet",
    "snippet.updated": "receive an event for every changed snippet",
    "snippet.deleted": "receive an event for every deleted snippet",
}
_FILTERS = {
    "snippet.create": "run before a snippet is created, and change or refuse it",
    "snippet.update": "run before a snippet is changed, and alter or refuse the change",
}


class Request(NamedTuple):
    """All but `permissions` and `network` have the texts that the operator reads; `program` is "" for Lua."""

    permissions: frozenset[Permission]
    events: Mapping[str, str]
    filters: Mapping[str, str]
    network: str
    program: str
    schedules: Mapping[str, str] = {}

    def as_json(self) -> dict[str, object]:
        return {
            "permissions": sorted(self.permissions),
            "events": sorted(self.events),
            "filters": sorted(self.filters),
            "schedules": sorted(self.schedules),
            "network": self.network,
            "runs_program": bool(self.program),
        }

    def lines(self) -> list[tuple[str, str]]:
        """The name of each thing it asks for, and what it means."""
        found = [(str(each), _PERMISSIONS[each]) for each in sorted(self.permissions)]
        found += sorted(self.events.items()) + sorted(self.filters.items()) + sorted(self.schedules.items())
        if self.network:
            found.append(("network", f"connect to other machines: {self.network}; only to ports listed in reed.yaml"))
        if self.program:
            found.append(("native", self.program))
        return found


def request_of(manifest: Manifest, plugin_type: PluginType) -> Request:
    sees_content = manifest.events or manifest.filters or any(a.input == "snippet" for a in manifest.actions.values())
    implied = {Permission.SNIPPET_READ} if sees_content else set()
    filters = {}
    for name, each in manifest.filters.items():
        without = "the write is refused" if each.on_failure == "refuse" else "the write passes"
        filters[f"filter {name}"] = f"{_FILTERS[name]}; without its answer {without}"
    return Request(
        permissions=frozenset(manifest.permissions) | implied,
        events={f"event {name}": _EVENTS[name] for name in manifest.events},
        filters=filters,
        network=manifest.network if plugin_type.profile.network else "",
        program="run as a compiled program, confined by the sandbox" if plugin_type.profile.executes else "",
        schedules={f"schedule {name}": _schedule(each) for name, each in manifest.schedules.items()},
    )


def _schedule(schedule: Schedule) -> str:
    when = f"by the cron line {schedule.cron}" if schedule.cron else f"every {exact_duration(schedule.every)}"
    text = f"run its action {schedule.action} {when}"
    return text if schedule.enabled else f"{text}, once it is switched on in reed.yaml"


def added(before: Request, after: Request, granted: Collection[Permission]) -> Request:
    """What the new version asks for, and the old one neither asked for nor was granted."""
    return Request(
        permissions=after.permissions - before.permissions - frozenset(granted),
        events={name: text for name, text in after.events.items() if name not in before.events},
        filters={name: text for name, text in after.filters.items() if before.filters.get(name) != text},
        network="" if before.network else after.network,
        program="" if before.program else after.program,
        schedules={name: text for name, text in after.schedules.items() if before.schedules.get(name) != text},
    )


def dropped(before: Request, after: Request) -> Request:
    """What the new version no longer asks for."""
    return added(after, before, ())


def granted_after(before: Request, after: Request, granted: Collection[Permission]) -> frozenset[Permission]:
    """The permissions of the row: what the operator granted or withheld stays, what changed in the request follows."""
    return (frozenset(granted) - (before.permissions - after.permissions)) | (after.permissions - before.permissions)
