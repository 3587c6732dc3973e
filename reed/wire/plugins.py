"""Records of the commands on plugins and of messages on FIFOs (protocol.md#plugins, protocol.md#messages)."""

from __future__ import annotations

from typing import Any, NamedTuple

from reed.errors import Malformed
from reed.wire import structs
from reed.wire.codes import MESSAGE_MAGIC, VERSION
from reed.wire.common import parsed, unpack_status
from reed.wire.requests import Name
from reed.wire.structs import Bytes, exact, fill, pack_text, split, unpack_text


class PluginRegister(NamedTuple):
    name: str
    version: str
    pid: int
    manifest: Bytes  # JSON: {"actions": {NAME: {"command_id", …}}, …}

    def pack(self) -> bytes:
        fields = pack_text(self.name, 32), pack_text(self.version, 16), self.pid
        return fill(structs.PLUGIN_REGISTER, *fields, len(self.manifest)) + self.manifest

    @classmethod
    def unpack(cls, payload: Bytes) -> PluginRegister:
        (name, version, pid, _), manifest = split(structs.PLUGIN_REGISTER, payload, "PLUGIN_REGISTER")
        return cls(unpack_text(name), unpack_text(version), pid, manifest)


class PluginSend(NamedTuple):
    plugin: str
    action: str
    input: Bytes  # JSON, or bytes if the action declares `input: bytes`

    def pack(self) -> bytes:
        names = pack_text(self.plugin, 32), pack_text(self.action, 32)
        return fill(structs.PLUGIN_SEND, *names, len(self.input)) + self.input

    @classmethod
    def unpack(cls, payload: Bytes) -> PluginSend:
        (plugin, action, _), tail = split(structs.PLUGIN_SEND, payload, "PLUGIN_SEND")
        return cls(unpack_text(plugin), unpack_text(action), tail)


class PluginRunSchedule(NamedTuple):
    plugin: str
    schedule: str

    def pack(self) -> bytes:
        return fill(structs.PLUGIN_RUN_SCHEDULE, pack_text(self.plugin, 32), pack_text(self.schedule, 32))

    @classmethod
    def unpack(cls, payload: Bytes) -> PluginRunSchedule:
        plugin, schedule = exact(structs.PLUGIN_RUN_SCHEDULE, payload, "PLUGIN_RUN_SCHEDULE")
        return cls(unpack_text(plugin), unpack_text(schedule))


class PluginReload(NamedTuple):
    """Packed as nothing, only the name, or both fields."""

    plugin_name: str = ""  # empty: all that changed
    report: bool = False

    def pack(self) -> bytes:
        if self.report:
            return fill(structs.PLUGIN_RELOAD, pack_text(self.plugin_name, 32), self.report)
        return pack_text(self.plugin_name, 32) if self.plugin_name else b""

    @classmethod
    def unpack(cls, payload: Bytes) -> PluginReload:
        if not payload:
            return cls()
        if len(payload) == structs.NAME.size:
            return cls(Name.unpack(payload).name)
        name, report = exact(structs.PLUGIN_RELOAD, payload, "PLUGIN_RELOAD")
        if report > 1:
            raise Malformed(f"PLUGIN_RELOAD: report is {report}, expected 0 or 1")
        return cls(unpack_text(name), bool(report))


class PluginAnswer(NamedTuple):
    status: int
    body: Bytes

    def json(self) -> Any:
        """The body as a value; None if it is empty. Raises Malformed if it is no JSON."""
        return parsed(self.body, "the plugin's answer") if self.body else None

    def pack(self) -> bytes:
        return fill(structs.STATUS, self.status) + self.body

    @classmethod
    def unpack(cls, payload: Bytes) -> PluginAnswer:
        return cls(unpack_status(payload), memoryview(payload)[structs.STATUS.size :])


class PluginMessage(NamedTuple):
    message_type: int
    source_plugin: str
    target_plugin: str
    timestamp: int  # Unix microseconds; unique and increasing within a FIFO
    payload: Bytes  # JSON

    def pack(self) -> bytes:
        names = pack_text(self.source_plugin, 32), pack_text(self.target_plugin, 32)
        fixed = fill(
            structs.PLUGIN_MESSAGE, MESSAGE_MAGIC, VERSION, self.message_type, *names, self.timestamp, len(self.payload)
        )
        return fixed + self.payload

    @classmethod
    def unpack(cls, payload: Bytes) -> PluginMessage:
        fields, tail = split(structs.PLUGIN_MESSAGE, payload, "plugin message")
        magic, version, message_type, source, target, timestamp, _ = fields
        if magic != MESSAGE_MAGIC or version != VERSION:
            raise Malformed(f"plugin message: magic 0x{magic:08X}, version {version}")
        return cls(message_type, unpack_text(source), unpack_text(target), timestamp, tail)
