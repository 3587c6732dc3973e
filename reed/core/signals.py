"""Signals between people, the core and plugins (the source, Signal System; WIRE.md, From the core to a plugin).

    person ── PLUGIN_SIGNAL ── core ── SignalMessage ── plugin        wake, reload, health, shutdown; one or all
    plugin ── SignalMessage ── its link ── supervisor                 READY, BUSY, SLEEPING, ERROR
    supervisor ── its link ── plugin                                  HEALTH_CHECK, SHUTDOWN_GRACEFUL, …

A graceful shutdown that a person sends is a stop: the supervisor must know that the plugin ends, or it would start it
again.
"""

from __future__ import annotations

from collections.abc import Mapping

from reed.core.links import Link
from reed.errors import Malformed, PluginNotFound
from reed.registry.lifecycle import State
from reed.registry.supervisor import Supervisor
from reed.wire.codes import Signal
from reed.wire.common import SignalMessage

_RUNNING = frozenset({State.READY, State.BUSY, State.SLEEPING})


def signal_plugins(
    supervisor: Supervisor, links: Mapping[str, Link], message: SignalMessage, *, broadcast: bool
) -> None:
    """Hand a person's signal on to the plugin it names, or to every running plugin."""
    if message.signal_type < Signal.SHUTDOWN_GRACEFUL or message.signal_type not in set(Signal):
        raise Malformed(f"signal 0x{message.signal_type:02X} is none that a plugin gets")
    kind = Signal(message.signal_type)
    if broadcast:
        targets = [link for link in links.values() if link.plugin.state in _RUNNING]
    elif message.plugin_name in links:
        targets = [links[message.plugin_name]]
    else:
        raise PluginNotFound(f"no plugin {message.plugin_name}", hint="`reed plugin list` shows them")
    for link in targets:
        if kind == Signal.SHUTDOWN_GRACEFUL:
            supervisor.stop(link.name, lambda: None, lambda _: None)
        elif kind == Signal.WAKE_UP and link.plugin.state is State.SLEEPING:
            supervisor.wake(link.name)
        elif not link.send_signal(kind, bytes(message.data)) and not broadcast:
            raise link.offline()
