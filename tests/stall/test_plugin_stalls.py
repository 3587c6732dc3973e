"""No plugin, and no request that involves plugins, holds the loop or takes memory without bound (test_stalls).

Drawn are floods of signals, of messages between plugins, of events for many subscribers and of connections, registries
of many rows, and plugins that answer, register and print what is large. The bounds and REED_STALLS are those of
test_stalls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, example, given, note, settings
from hypothesis import strategies as st

from bench.stalls.plugin_requests import GET, connect_many, signal_all, tell, wait_for_events
from bench.stalls.plugins import SUBSCRIBERS, use
from bench.stalls.requests import MB, store_many
from reed.client import Client
from reed.wire import frames
from reed.wire.codes import Command, Signal

from .test_stalls import ROUNDS, Draft, assert_bounds, core, shapes, sizes, text_of

__all__ = ["core"]
EXAMPLES = 50 * max(ROUNDS, 1)
HOSTILE = ("hostile",)


@st.composite
def answers(draw: st.DrawFn) -> Draft:
    """A plugin answers with what it gets: bytes, JSON, to a broadcast, or as a filter."""
    shape, size = draw(shapes), draw(sizes)
    content = text_of(shape, size)
    how = draw(st.sampled_from(["echo", "echo_json", "broadcast", "filter"]))
    text = f"{how}: {shape} of {size}"

    def create(client: Client) -> None:
        client.registry_define("filtered", {})
        client.snippet_create("filtered", "", content)

    if how == "broadcast":
        plugins = ("hostile", "filter")
        return Draft(
            text, lambda client: client.plugin_send_all("echo_json", content), payload=3 * size, plugins=plugins
        )
    if how == "filter":
        return Draft(text, create, payload=3 * size, plugins=("filter",))
    return Draft(text, lambda client: client.plugin_send("hostile", how, content), payload=2 * size, plugins=HOSTILE)


def told(text: str, payload: int = 0, plugins: tuple[str, ...] = HOSTILE, **arguments: Any) -> Draft:
    return Draft(text, lambda client: tell(client, **arguments), payload=payload, plugins=plugins)


@st.composite
def deeds(draw: st.DrawFn) -> Draft:
    """What a plugin does by itself."""
    what = draw(st.sampled_from(["signals", "nap", "register", "output", "connections", "messages"]))
    count = draw(st.sampled_from([10, 300, 3_000]))
    if what == "signals":
        kind, size = draw(st.integers(1, 16)), draw(st.sampled_from([0, 100, 65_000]))
        count = min(count, 10 * MB // (size + 55))
        return told(f"{count} signals {kind} of {size}", count * size, what=what, kind=kind, count=count, size=size)
    if what == "register":
        shape = draw(st.sampled_from(["lists", "actions"]))
        return told(f"registers {count} {shape}", count * 20, what=what, shape=shape, count=count * 100)
    if what == "output":
        line = draw(st.sampled_from([0, 1, 100, 5_000]))
        count = min(count * 10, 200_000 // max(line, 1))
        return told(f"{count} lines of {line}", what=what, line=line, count=count)
    if what == "messages":
        return told(f"{count} messages", plugins=("hostile", "sleeper"), what=what, to="sleeper", count=count)
    return told(f"{count} {what}", what=what, count=count)


signals = st.builds(
    lambda signal, count, plugins: Draft(
        f"{count} {signal.name} to {len(plugins)}",
        lambda client: signal_all(client, signal, count),
        plugins=plugins,
    ),
    st.sampled_from([Signal.HEALTH_CHECK, Signal.RELOAD_CONFIG, Signal.WAKE_UP, Signal.PLUGIN_READY]),
    st.sampled_from([1, 30, 500]),
    st.sampled_from([HOSTILE, SUBSCRIBERS]),
)


def change_many(client: Client, count: int, size: int) -> None:
    client.registry_define("event", {})
    store_many(client, "event", count, lambda number: {"n": number, "text": "x" * size})


def events(count: int, size: int, *, leave: bool) -> Draft:
    def send(client: Client) -> None:
        change_many(client, count, size)
        if leave:
            use(client, ())
        wait_for_events(client)

    what = "whose subscribers leave" if leave else "for 16 subscribers"
    return Draft(f"{count} events {what}", send, payload=count * size, plugins=SUBSCRIBERS)


def rows(count: int) -> tuple[str, ...]:
    return tuple(f"row-{number}" for number in range(count))


def registry(count: int, what: str) -> Draft:
    requests: dict[str, Callable[[Client], Any]] = {
        "more": lambda client: use(client, rows(count)),
        "fewer": lambda client: use(client, ()),
        "reloaded": lambda client: client.plugin_reload(),
        "listed": lambda client: (client.plugin_list(), client.plugin_health()),
    }
    return Draft(f"{count} rows {what}", requests[what], plugins=() if what == "more" else rows(count))


connections = st.builds(
    lambda count, data: Draft(
        f"{count} connections with {len(data)} bytes",
        lambda client: connect_many(client, count, data),
        payload=count * len(data),
    ),
    st.sampled_from([10, 400]),
    st.sampled_from([b"", GET[:5], GET, GET * 20, frames.encode(Command.SNIPPET_CREATE, b"x" * MB)[:100_000]]),
)


def drafts() -> st.SearchStrategy[Draft]:
    return st.one_of(
        answers(),
        deeds(),
        signals,
        st.builds(events, st.sampled_from([1, 30, 300]), st.sampled_from([10, 10_000]), leave=st.booleans()),
        st.builds(registry, st.sampled_from([1, 20, 60]), st.sampled_from(["more", "fewer", "reloaded", "listed"])),
        connections,
    )


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=not ROUNDS,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(draft=drafts())
# What was over the bound once: each is another part of the core that parsed, created or read without a bound.
@example(
    Draft(
        "an input of lists",
        lambda client: client.plugin_send("hostile", "echo_json", text_of("lists", MB)),
        payload=2 * MB,
        plugins=HOSTILE,
    )
)
@example(
    Draft(
        "answers of lists to a broadcast",
        lambda client: client.plugin_send_all("echo_json", text_of("lists", MB)),
        payload=3 * MB,
        plugins=("hostile", "filter"),
    )
)
@example(
    Draft(
        "a filter's answer of lists",
        lambda client: (
            client.registry_define("filtered", {}),
            client.snippet_create("filtered", "", text_of("lists", MB)),
        ),
        payload=3 * MB,
        plugins=("filter",),
    )
)
@example(told("a registration of lists", MB, what="register", shape="lists", count=MB // 3))
@example(registry(60, "more"))
@example(registry(60, "fewer"))
@example(Draft("RELOAD_CONFIG to 16", lambda client: signal_all(client, Signal.RELOAD_CONFIG, 20), plugins=SUBSCRIBERS))
def test_no_plugin_holds_the_loop(core: Any, draft: Draft) -> None:
    note(draft.text)
    assert_bounds(core, draft)


def test_a_registry_of_one_long_row_does_not_hold_the_loop(core: Any) -> None:
    def reload(client: Client) -> None:
        (core.site / "plugin-registry.csv").write_text("x," * 500_000)
        client.plugin_reload()

    stall = assert_bounds(core, Draft("a row of 1 MB", reload, payload=MB))
    assert "a row of 1000000" in stall.outcome
