"""Signals between people, the core and plugins (protocol.md#signals).

    person ── PLUGIN_SIGNAL ── core ── SignalMessage ── plugin        wake, reload, health, shutdown; one or all
    plugin ── SignalMessage ── its link ── supervisor                 READY, BUSY, SLEEPING, ERROR
    supervisor ── its link ── plugin                                  HEALTH_CHECK, SHUTDOWN_GRACEFUL, …
    a reload that brought rows ── plugin                              HEALTH_CHECK: there are new FIFOs

A graceful shutdown that a person sends is a stop: the supervisor must know that the plugin ends, or it would start it
again. A WAKE_UP that names a stopped plugin starts it: reedcms-10.md#command-line stops analytics and wakes it some
lines below. A RELOAD_CONFIG that was given no data carries the settings that the plugin's folder has now. One in deep
sleep takes them up when it wakes.
"""

from __future__ import annotations

from collections.abc import Mapping

from reed.core.plugin_endpoint import PluginEndpoint
from reed.errors import Invalid, Malformed, ManifestError, PluginNotFound, nearest
from reed.supervision.lifecycle import State
from reed.supervision.supervisor import Supervisor
from reed.wire import strict_json
from reed.wire.codes import Signal
from reed.wire.common import SignalMessage

_LONGEST_DATA = 65535  # data_len is a u16
_RUNNING = frozenset({State.READY, State.BUSY, State.SLEEPING})


def signal_plugins(
    supervisor: Supervisor, links: Mapping[str, PluginEndpoint], message: SignalMessage, *, broadcast: bool
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
        hint = nearest(message.plugin_name, links) or "`reed plugin list` shows them"
        raise PluginNotFound(f"no plugin {message.plugin_name}", hint=hint)
    given = bytes(message.data)
    reads_anew = kind == Signal.RELOAD_CONFIG and not given
    for link, data in [(link, _settings_of(link) if reads_anew else given) for link in targets]:
        if kind == Signal.SHUTDOWN_GRACEFUL:
            supervisor.stop(link.name, lambda: None, lambda _: None)
        elif kind == Signal.WAKE_UP and link.plugin.state is State.SLEEPING:
            supervisor.wake(link.name)
        elif kind == Signal.WAKE_UP and link.plugin.state is State.STOPPED:
            supervisor.start(link.name, lambda: None, lambda _: None)
        elif not link.send_signal(kind, data) and not broadcast and not _takes_it_up_later(link, kind):
            raise link.offline()


def announce_fifos(links: Mapping[str, PluginEndpoint]) -> None:
    """FIFOs came: have the plugins that are awake look for them now, as they do on each HEALTH_CHECK. A message of a
    plugin that is new would wait for the next one else; who sleeps looks when it wakes."""
    for link in links.values():
        if link.plugin.state in (State.READY, State.BUSY):
            link.send_signal(Signal.HEALTH_CHECK)


def _settings_of(link: PluginEndpoint) -> bytes:
    """Read again; as JSON. What is too much for a signal is left out: an SDK asks for it when it registers again."""
    try:
        found = link.plugin.specify().launch.settings
    except ManifestError as error:
        raise Invalid(str(error)) from None
    link.plugin.use_settings(found)
    settings = strict_json.dumps(dict(found))
    return settings if len(settings) <= _LONGEST_DATA else b""


def _takes_it_up_later(link: PluginEndpoint, kind: Signal) -> bool:
    """A plugin in deep sleep has no process, and reads its settings when it gets one."""
    return kind == Signal.RELOAD_CONFIG and link.plugin.state is State.SLEEPING
