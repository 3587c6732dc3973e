"""Mutated files and JSON are accepted, or refused with their place."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from reed.errors import CallError

ECHO = 'plugin.action("echo", function(text) return text end)'
MANIFEST = """description: "A test"
actions:
  echo: {command_id: 1, input: json, timeout: 2s, description: "Echo", example: {a: [1, 2]}}
events: {snippet.created: echo}
settings: {words: [a, b], deep: {er: 1}}
sleep: {after: 180s, mode: light}
limits: {memory: 8MB, cpu: 1s, calls: 10}
"""
DEFINITION = {
    "description": "A page",
    "schema": {"type": "object", "properties": {"title": {"type": "string", "maxLength": 20}}, "required": ["title"]},
    "searchable": {"title": 3},
    "composed_of": ["page"],
    "max_depth": 3,
    "routable": True,
}
PIECES = (
    b'"',
    b",",
    b"\n",
    b"\0",
    b"\xff",
    b"{",
    b"}",
    b"[",
    b"null",
    b"NaN",
    b"1e999",
    b"\\ud800",
    b"&a *a",
    b": ",
    b"!!python/object",
    b"\xef\xbb\xbf",
)


def mutated(rnd: random.Random, data: bytes) -> bytes:
    made = bytearray(data)
    for _ in range(rnd.randrange(1, 4)):
        at = rnd.randrange(len(made) + 1)
        end = min(len(made), at + rnd.randrange(1, 30))
        way = rnd.randrange(6)
        if way == 0 and at < len(made):
            made[at] ^= 1 << rnd.randrange(8)
        elif way == 1:
            del made[at:end]
        elif way == 2:
            made[at:at] = made[at:end]
        elif way == 3:
            made[at:at] = rnd.choice(PIECES)
        elif way == 4:
            del made[at:]
        else:
            made[at:at] = rnd.randbytes(rnd.randrange(1, 5))
    return bytes(made)


def caught(ask: Callable[[], object]) -> CallError | None:
    try:
        ask()
    except CallError as error:
        return error
    return None


def test_mutated_files_and_json_are_accepted_or_refused(ground, times) -> None:
    ground.lua("tool", ECHO, MANIFEST)
    ground.lua("other", ECHO, "actions:\n  echo: {command_id: 1}\n", auto=False)
    client = ground.start()
    rnd = random.Random(seed := random.randrange(1 << 32))
    folder = ground.site.root / "plugins" / "other"

    def reload(where: str) -> Callable[[bytes], None]:
        path = ground.site.registry if where == "registry" else folder / where

        def take(data: bytes) -> None:
            path.write_bytes(data)
            refused = caught(client.plugin_reload)
            if refused is not None:
                assert refused.status == 422, f"seed {seed}: {refused}"
                assert str(ground.site.registry) in str(refused), f"seed {seed}: {refused}"
            if where != "registry":
                (row,) = [row for row in client.plugin_list() if row["name"] == "other"]
                assert row["state"] in {"stopped", "failed"}, f"seed {seed}: {row}"
                assert row["state"] == "stopped" or "plugin.yaml" in row["reason"], f"seed {seed}: {row}"

        return take

    def define(data: bytes) -> None:
        client.registry_define("mutant", data)

    def create(data: bytes) -> None:
        client.snippet_create("page", "", data)

    content = json.dumps({"title": "Zürich", "n": [1, -2.5e3, None, True, {"deep": [[[]]]}]}).encode()
    kinds: list[tuple[str, str, Callable[[bytes], None], bytes, int]] = [
        (
            "plugin-registry.csv",
            "accepted, or 422 with the line",
            reload("registry"),
            ground.site.registry.read_bytes(),
            60,
        ),
        (
            "plugin.yaml",
            "accepted, or failed with the line",
            reload("plugin.yaml"),
            (folder / "plugin.yaml").read_bytes(),
            60,
        ),
        ("types", "accepted, or 400, 409, 422", define, json.dumps(DEFINITION).encode(), 300),
        ("content", "accepted, or 400, 422", create, content, 300),
    ]
    for what, expected, take, sound, count in kinds:
        with ground.fault(f"mutated {what}", expected) as fault:
            for _ in range(times(count, 100_000)):
                data = mutated(rnd, sound)
                refused = caught(lambda data=data, take=take: take(data))
                if refused is not None:
                    assert refused.status in {400, 409, 413, 422}, f"seed {seed}: {refused} for {data!r}"
                fault.injected()
            if take not in (define, create):
                take(sound)
    client.plugin_start("tool")
    client.plugin_start("other")
    assert client.plugin_send("other", "echo", 1).body == b"1"
