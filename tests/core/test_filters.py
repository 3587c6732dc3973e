"""Filters on a real store, with plugins that the test answers for: order, races, and valid answers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed.core.calls import Call, Caller
from reed.core.filter_result import FilterResult, filter_result
from reed.core.filters import Filters
from reed.core.json_checks import HANDLERS, JsonChecks
from reed.errors import CallError, Conflict, ErrorCode, Invalid, Malformed, NotFound, PluginBusy, PluginOffline
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.store.sqlite.store import SqliteStore
from reed.store.workers import DEADLINES, Origin
from reed.supervision.manifest import Action, Filter
from reed.wire import strict_json
from reed.wire.plugins import PluginAnswer
from reed.wire.snippets import Record
from tests.inline_store import InlineWorkers, inline_store

REFUSE = Filter("check")
PASS = Filter("check", on_failure="pass", timeout=2.0)


class FakeEndpoint:
    """A plugin whose calls the test answers."""

    def __init__(self, name: str, line: int, filters: dict[str, Filter], permissions: str) -> None:
        self.name = name
        self.caller = SimpleNamespace(permissions=frozenset(permissions.split()))
        self.plugin = SimpleNamespace(row=SimpleNamespace(line=line), manifest=SimpleNamespace(filters=filters))
        self.offline = False
        self.timeouts: list[float] = []
        self.end_turn: Callable[[], None] = lambda: None
        self._asked: list[tuple[Any, Callable[[int, bytes], None], Callable[[CallError], None]]] = []

    def action(self, name: str) -> Action:
        return Action(name=name, command_id=1)

    def call(self, action: Action, payload: bytes, answered: Any, failed: Any, _origin: str = "") -> None:
        if self.offline:
            raise PluginOffline(f"plugin {self.name} is stopped")
        self.timeouts.append(action.timeout)
        self._asked.append((strict_json.loads(payload), answered, failed))

    @property
    def asked(self) -> list[Any]:
        return [payload for payload, _, _ in self._asked]

    def answer(self, value: object, status: int = 200) -> None:
        _, answered, _ = self._asked.pop(0)
        answered(PluginAnswer(status, json.dumps(value).encode()).pack())
        self.end_turn()

    def fail(self, error: CallError) -> None:
        self._asked.pop(0)[2](error)
        self.end_turn()


class CallOrigin:
    def __init__(self, plugin: str = "") -> None:
        self.caller = Caller("somebody", plugin, frozenset(), frozenset(), frozenset(), is_admin=True)


class Site:
    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.endpoints: dict[str, Any] = {}
        self.loop = Loop(on_exception=lambda error: pytest.fail(str(error)))
        log = PeerLog(logging.getLogger("test"), self.loop)
        checks = JsonChecks(InlineWorkers(HANDLERS), DEADLINES.job)
        self.filters = Filters(store, self.endpoints, lambda name: True, 64 * 1024, checks, log)
        self.person = CallOrigin()

    def add(
        self, name: str, line: int, *, create: Filter | None = None, update: Filter | None = None,
        permissions: str = "snippet_read snippet_write",
    ) -> FakeEndpoint:  # fmt: skip
        given = {"snippet.create": create, "snippet.update": update}
        filters = {event: filter for event, filter in given.items() if filter}
        endpoint = self.endpoints[name] = FakeEndpoint(name, line, filters, permissions)
        endpoint.end_turn = self.commit
        self.filters.refresh()
        return endpoint

    def write(self, operation: str, *args: object, origin: CallOrigin | None = None) -> list[object]:
        """The result of a write (its id or its error), filled in when it is known."""
        call = Call(origin or self.person, 1, 0)  # type: ignore[arg-type]
        came: list[object] = []
        writer: Any = self.store if self.filters.idle else self.filters.queue_for(call)
        try:
            getattr(writer, operation)(
                *args, came.append, came.append, origin=Origin("somebody", plugin=call.caller.plugin)
            )
        except CallError as error:
            came.append(error)
        return came

    def commit(self) -> None:
        """A few turns: the next write of a connection begins when the one before it is answered."""
        for _ in range(10):
            self.store.commit()

    def content(self, ref: str) -> Any:
        found: list[Any] = []
        self.store.get(ref, found.append, found.append)
        return json.loads(bytes(found[0].content))


@pytest.fixture
def site(tmp_path):
    store = inline_store(tmp_path / "reed.db")
    store.define("page", b'{"schema":{"properties":{"n":{"type":"integer"}}}}', lambda new: None, pytest.fail)
    store.commit()
    made = Site(store)
    yield made
    made.loop.close()
    store.close()


def test_filters_are_idle_while_no_plugin_has_one(site):
    assert site.filters.idle
    site.add("seo", 2, create=REFUSE)
    assert not site.filters.idle
    site.endpoints.clear()
    site.filters.refresh()
    assert site.filters.idle


def test_a_restore_keeps_its_place_and_is_not_filtered(site):
    seo = site.add("seo", 2, create=REFUSE, update=REFUSE)
    first = site.write("create", "page", "home", b'{"n":1}')
    at = 1_700_000_000_000_000
    old = Record("0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b", "page", "old", 7, at, at, b'{ "n": 2 }')
    came = site.write("restore", old)
    site.commit()
    assert came == []
    seo.answer({})
    site.commit()
    assert len(first) == 1
    assert [each.outcome for each in came] == ["created"]
    assert seo.asked == []
    assert site.content("old") == {"n": 2}


def test_numbers_in_a_filters_content_keep_their_digits(site):
    seo = site.add("seo", 2, create=REFUSE)
    site.write("create", "page", "home", b'{"f":1.50}')
    _, answered, _ = seo._asked.pop()
    answered(PluginAnswer(200, b'{"refuse":[], "content" : {"f":1.50,"b":18446744073709551615,"e":1E2} }').pack())
    site.commit()
    found: list[Any] = []
    site.store.get("home", found.append, found.append)
    assert bytes(found[0].content) == b'{"f":1.50,"b":18446744073709551615,"e":1E2}'


def test_filters_run_in_the_registrys_order_before_the_store_validates(site):
    later, earlier = site.add("a", 3, create=REFUSE), site.add("b", 2, create=PASS)
    came = site.write("create", "page", "home", b'{ "n":1 }')
    assert earlier.asked == [
        {"event": "snippet.create", "type": "page", "name": "home", "id": None, "content": {"n": 1}}
    ]
    assert later.asked == []
    earlier.answer({"content": {"n": 2}})
    assert later.asked[0]["content"] == {"n": 2}
    assert (earlier.timeouts, later.timeouts) == ([2.0], [5.0])
    later.answer({"content": {"n": "two"}})
    assert isinstance(came[0], Invalid)
    came = site.write("create", "page", "home", b'{ "n":1 }')
    earlier.answer({})
    assert came == []
    later.answer(None)
    assert came
    assert bytes(site.store._snippets.find("home").content) == b'{ "n":1 }', "unchanged content keeps its bytes"


def test_an_overtaken_update_is_filtered_again(site):
    seo = site.add("seo", 2, update=REFUSE)
    site.write("create", "page", "home", b'{"n":1}')
    site.commit()
    came = site.write("update", "home", 0, b'{"mine":true}')
    assert (seo.asked[0]["content"], seo.asked[0]["version"]) == ({"n": 1, "mine": True}, 1)
    site.store.update("home", 0, b'{"n":5}', lambda made: None, pytest.fail)
    site.commit()
    seo.answer({"content": {"lost": "n would be"}})
    assert (seo.asked[0]["content"], seo.asked[0]["version"]) == ({"n": 5, "mine": True}, 2)
    seo.answer({"content": {"n": 5, "mine": True, "kept": None}})
    site.commit()
    assert came
    assert site.content("home") == {"n": 5, "mine": True, "kept": None}


def test_an_overtaken_update_conflicts_with_if_version_or_after_too_many_rounds(site):
    seo = site.add("seo", 2, update=REFUSE)
    site.write("create", "page", "home", b"{}")
    site.commit()
    certain = site.write("update", "home", 1, b'{"mine":true}')
    other = site.write("update", "home", 0, b'{"mine":true}', origin=CallOrigin())
    for _ in range(6):
        site.store.update("home", 0, b'{"n":5}', lambda made: None, pytest.fail)
        while seo.asked:
            answers = len(seo.asked)
            for _ in range(answers):
                seo.answer({})
            break
    assert all(isinstance(error, Conflict) for error in (certain[0], other[0]))
    assert seo.asked == []


def test_a_filter_sees_what_is_committed_and_another_write_is_never_lost(site):
    seo = site.add("seo", 2, update=REFUSE)
    site.write("create", "page", "home", b"{}")
    site.commit()
    site.store.update("home", 0, b'{"other":1}', lambda made: None, pytest.fail)
    came = site.write("update", "home", 0, b'{"mine":true}')
    assert not seo.asked  # it waits for the commit
    site.commit()
    assert seo.asked[0]["content"] == {"other": 1, "mine": True}
    while not came:
        seo.answer({})
        site.commit()
    assert isinstance(came[0], str)
    assert site.content("home") == {"other": 1, "mine": True}


def test_the_writes_of_a_connection_keep_their_order(site):
    seo = site.add("seo", 2, create=REFUSE)
    first = site.write("create", "page", "a", b"{}")
    update = site.write("update", "a", 0, b'{"n":1}')
    gone = site.write("delete", "a", False)
    missing = site.write("update", "a", 0, b"{}")
    other = site.write("delete", "nothing", False, origin=CallOrigin())
    assert isinstance(other[0], NotFound)
    assert (first, update, gone, missing) == ([], [], [], [])
    seo.answer({})
    site.commit()
    site.commit()
    assert isinstance(missing[0], NotFound)
    assert first == update == gone
    again = site.write("delete", "nothing", False)
    assert isinstance(again[0], NotFound)


def test_many_waiting_writes_do_not_recurse_and_too_many_are_refused(site):
    seo = site.add("seo", 2, create=REFUSE)
    site.filters._max_bytes = 10_000_000
    first = site.write("create", "page", "a", b"{}")
    waiting = [site.write("delete", f"n{number}", False) for number in range(5000)]
    assert not any(waiting)
    seo.answer({"refuse": ["no"]})
    assert isinstance(first[0], Invalid)
    assert all(isinstance(came[0], NotFound) for came in waiting)
    site.filters._max_bytes = 3000
    held = [site.write("create", "page", "", b"{}") for _ in range(5)]
    assert [type(came[0]) for came in held[3:]] == [PluginBusy, PluginBusy]
    for _ in range(3):
        seo.answer({})
    site.commit()
    assert all(isinstance(came[0], str) for came in held[:3])


def test_a_filters_failure_never_looks_like_an_error_in_the_snippet(site):
    seo = site.add("seo", 2, create=REFUSE)
    came = site.write("create", "page", "", b"{}")
    seo.fail(NotFound("no handler"))
    assert (came[0].status, came[0].error_code) == (500, ErrorCode.ERR_INTERNAL)
    came = site.write("create", "page", "", b"{}")
    seo.answer({}, status=404)
    assert (came[0].status, came[0].error_code) == (500, ErrorCode.ERR_INTERNAL)
    seo.offline = True
    came = site.write("create", "page", "", b"{}")
    assert (came[0].status, came[0].error_code) == (503, ErrorCode.ERR_PLUGIN_OFFLINE)


def test_a_skipped_filter_is_logged_once_until_it_answers_again(site, caplog):
    seo = site.add("seo", 2, create=PASS)
    seo.offline = True
    for _ in range(3):
        site.write("create", "page", "", b"{}")
    site.commit()
    seo.offline = False
    site.write("create", "page", "", b"{}")
    seo.answer({})
    seo.offline = True
    site.write("create", "page", "", b"{}")
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 2
    site.commit()
    assert site.store.stats()["snippets"] == 5


def test_a_plugin_passes_its_own_filter_and_not_that_of_another(site):
    seo, other = site.add("seo", 2, create=REFUSE), site.add("other", 3, create=REFUSE)
    came = site.write("create", "page", "", b"{}", origin=CallOrigin("seo"))
    assert (len(seo.asked), len(other.asked)) == (0, 1)
    other.answer({})
    site.commit()
    assert isinstance(came[0], str)


def test_filters_need_permissions(site):
    blind = site.add("blind", 2, create=REFUSE, permissions="")
    came = site.write("create", "page", "", b"{}")
    assert (blind.asked, "snippet_read" in str(came[0])) == ([], True)
    reader = site.add("blind", 2, create=REFUSE, permissions="snippet_read")
    came = site.write("create", "page", "", b"{}")
    reader.answer({"content": {}})
    assert "snippet_write" in str(came[0])


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"", FilterResult()),
        (b"null", FilterResult()),
        (b"[]", FilterResult()),
        (b'{"refuse":{}}', FilterResult()),
        (b'{"refuse":[],"content":{"a":[1.5]}}', FilterResult(content=b'{"a":[1.5]}')),
        (b'{"refuse":["no"],"content":{}}', FilterResult(reasons=("no",))),
    ],
)
def test_what_a_filter_may_answer(answer, found):
    assert filter_result(200, answer) == found


@pytest.mark.parametrize(
    "answer",
    [b"true", b'{"contents":{}}', b'{"content":[]}', b'{"refuse":"no"}', b'{"refuse":[1]}', b"{"],
)
def test_what_a_filter_may_not_answer(answer):
    with pytest.raises(Malformed):
        filter_result(200, answer)


@given(st.binary(max_size=60) | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: (
    st.lists(inner) | st.dictionaries(st.sampled_from(["content", "refuse"]) | st.text(), inner)
)).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_answer_is_a_result_or_an_error(answer):
    try:
        found = filter_result(200, answer)
    except CallError:
        return
    assert found.content is None or isinstance(json.loads(found.content), dict)
    assert all(isinstance(reason, str) for reason in found.reasons)


def test_a_rename_is_filtered_as_an_update(site):
    (snippet_id,) = made(site, "old", b'{ "n":1e0 }')
    seo = site.add("seo", 2, create=REFUSE, update=REFUSE)
    came = site.write("rename", "old", "new")
    assert seo.asked == [
        {"event": "snippet.update", "type": "page", "name": "new", "id": snippet_id, "version": 1, "content": {"n": 1}}
    ]
    seo.answer({"refuse": ["no such names here"]})
    assert isinstance(came[0], Invalid)
    came = site.write("rename", "old", "new")
    seo.answer({})
    site.commit()
    assert came == [snippet_id]
    record = site.store._snippets.find("new")
    assert (record.version, bytes(record.content)) == (2, b'{ "n":1e0 }')
    site.write("rename", "new", "")
    seo.answer({"content": {"n": 2}})
    site.commit()
    assert site.store._snippets.find(snippet_id).semantic_name == ""
    assert site.content(snippet_id) == {"n": 2}


def test_an_overtaken_rename_is_filtered_again(site):
    made(site, "old", b'{"n":1}')
    seo = site.add("seo", 2, update=REFUSE)
    came = site.write("rename", "old", "new")
    site.store.update("old", 0, b'{"n":5}', lambda made: None, pytest.fail)
    site.commit()
    seo.answer({"content": {"n": 2}})
    assert seo.asked[0]["content"] == {"n": 5}
    seo.answer({})
    site.commit()
    assert isinstance(came[0], str)
    assert site.content("new") == {"n": 5}
    assert isinstance(site.write("rename", "nothing", "x")[0], NotFound)


def test_a_value_or_a_name_in_use_is_a_conflict_at_once(site):
    site.store.define("page", b'{"unique":["n"]}', lambda new: None, pytest.fail)
    made(site, "one", b'{"n":1}')
    made(site, "two", b'{"n":2}')
    seo = site.add("seo", 2, update=REFUSE)
    for write in (("update", "two", 0, b'{"n":1}'), ("rename", "two", "one")):
        came = site.write(*write)
        seo.answer({})
        assert isinstance(came[0], Conflict)
        assert seo.asked == []


def made(site, name, content):
    came = site.write("create", "page", name, content)
    site.commit()
    return came
