"""A core in memory, for unit tests of plugins: it answers a plugin's commands, and keeps what the plugin sent.

    test ── add, fail, answer ──▶ FakeCore ◀── request, send, ask, signal, log ── the plugin under test
         ◀── writes, messages, requests, signals, log ──

    core       FakeCore: commands by their wire records, as the host of a plugin sends them; messages; what was sent
    content    snippets, bonds, types and search in dicts, with the errors of a real store

It has no filters, no events and no disk, and searches by plain words. A test that needs these runs `reed.testing.core`.
"""

from reed.fake_core.core import FakeCore

__all__ = ["FakeCore"]
