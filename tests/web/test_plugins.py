"""Plugins: state, start and stop, actions with their forms, errors with file and line, the log."""

from __future__ import annotations

import http.client
import json

import pytest

from reed.errors import CallError

MANIFEST = """
description: Words of a page
actions:
  count: {command_id: 1, input: snippet, description: Words of a page}
  join: {command_id: 2, input: json, example: {words: [a, b], times: 2, loud: false, by: "-"}}
  size: {command_id: 3, input: bytes}
  fail: {command_id: 4, input: json}
"""
MAIN = """local reed = require "reed"
local plugin = reed.create_plugin { name = "words", version = "1.0.0" }
plugin.action("count", function(payload)
  local _, count = json.decode(payload).content.title:gsub("%S+", "")
  reed.log.info("<b>counted</b> " .. count)
  return { title = json.decode(payload).content.title, count = count }
end)
plugin.action("join", function(payload)
  local given = json.decode(payload)
  local text = table.concat(given.words, given.by):rep(given.times or 1)
  return { text = given.loud and text:upper() or text }
end)
plugin.action("size", function(payload) return { size = #payload } end)
plugin.action("fail", function() local nothing; return nothing.field end)
plugin.run()
"""


@pytest.fixture
def core(site):
    site.add_lua_plugin("words", MAIN, MANIFEST)
    site.set_rows('words,lua,{},1.0.0,"snippet_read","editor,admin",false,"Words <script>alert(1)</script>"')
    site.start()
    client = site.client()
    client.registry_define("page", {})
    client.snippet_create("page", "blog/intro", {"title": "<script>alert(1)</script> two words"})
    return site


def run(browse, action: str, **fields: str):
    return browse.post(f"/plugins/words/actions/{action}", fields)


def test_start_stop_and_restart(core, browse):
    page = browse.get("/plugins").text
    assert 'data-state="stopped">stopped<' in page
    assert "Words &lt;script&gt;alert(1)" in page
    answer = browse.post("/plugins/words/start", {"back": "list"})
    assert (answer.status, answer.headers["Location"]) == (303, "/plugins")
    assert "words is ready" in browse.get("/plugins").text
    first = browse.json("/plugins.json")["values"]
    assert first["words/state"] == "ready"
    assert first["words/running"] == "yes"
    browse.post("/plugins/words/restart", {"back": "plugin"})
    assert "words has restarted" in browse.get("/plugins/words").text
    assert browse.json("/plugins.json")["values"]["words/pid"] != first["words/pid"]
    browse.post("/plugins/words/stop", {"back": "plugin"})
    assert "words is stopped" in browse.get("/plugins/words").text
    assert browse.json("/plugins.json")["values"]["words/state"] == "stopped"


def test_schedules_with_their_rule_and_last_error(core, browse):
    assert "Schedules" not in browse.get("/plugins/words").text
    more = "schedules: {hourly: {every: 1h, action: fail}}\n"
    core.add_lua_plugin("words", MAIN, MANIFEST + more)
    client = core.client()
    client.plugin_reload()
    page = browse.get("/plugins/words").text
    assert "<code>hourly</code></th><td>every 1h</td><td>fail</td><td>paused</td>" in page
    client.plugin_start("words")
    with pytest.raises(CallError):
        client.plugin_run_schedule("words", "hourly")
    assert "its last run failed: words.fail: main.lua:14:" in browse.get("/plugins/words").text


def test_a_plugin_that_cannot_start_says_why(core, browse):
    (core.plugins / "words" / "main.lua").write_text("error('no paper')")
    browse.post("/plugins/words/start", {"back": "plugin"})
    page = browse.get("/plugins/words").text
    assert "no paper" in page
    assert "main.lua:1" in page


def test_reload_applies_the_registry_and_says_what_changed(core, browse):
    core.set_rows('other,lua,{},1.0.0,"","admin",false,""')
    assert browse.post("/plugins/reload").status == 303
    page = browse.get("/plugins").text
    assert "words removed" in page
    core.registry.write_text("nonsense\n")
    browse.post("/plugins/reload")
    assert "plugin-registry.csv:1" in browse.get("/plugins").text


def test_what_it_may_do_and_why(core, browse):
    page = browse.get("/plugins/words").text
    may, _, may_not = page.partition("What it may not do")
    assert "SNIPPET_GET" in may
    assert f"snippet_read is in its row, {core.registry}" in may
    assert "SNIPPET_CREATE" in may_not
    assert "add snippet_write to required_permissions" in may_not


def test_an_action_on_a_snippet(core, browse):
    browse.post("/plugins/words/start", {"back": "list"})
    form = browse.get("/plugins/words/actions/count").text
    assert '<option value="blog/intro">' in form
    answer = run(browse, "count", input="blog/intro")
    assert answer.status == 200
    assert "&#34;count&#34;: 3" in answer.text
    assert "<script>alert" not in answer.text
    missing = run(browse, "count", input="blog/none")
    assert missing.status == 404
    assert "no snippet" in missing.text


def test_an_action_with_a_form_made_from_its_example(core, browse):
    browse.post("/plugins/words/start", {"back": "list"})
    form = browse.get("/plugins/words/actions/join").text
    for name in ("words", "times", "loud", "by"):
        assert f'name="field.{name}"' in form
    fields = {"fields": "1", "field.words": '["x", "y"]', "field.times": "2", "field.by": "+", "field.loud": "true"}
    assert "X+YX+Y" in run(browse, "join", **fields).text
    without_number = {**fields, "field.times": "", "field.loud": ""}
    assert "&#34;x+y&#34;" in run(browse, "join", **without_number).text
    wrong = run(browse, "join", **{**fields, "field.words": "[1"})
    assert wrong.status == 400
    assert "words: JSON:" in wrong.text
    assert "[1</textarea>" in wrong.text


def test_an_action_with_json_or_bytes(core, browse):
    browse.post("/plugins/words/start", {"back": "list"})
    assert "a.b" in run(browse, "join", input='{"words": ["a", "b"], "by": "."}').text
    wrong = run(browse, "join", input="{")
    assert wrong.status == 400
    assert "line 1 column 2" in wrong.text
    assert "&#34;size&#34;: 5" in run(browse, "size", input="hello").text


def test_an_error_in_the_plugin_names_file_and_line(core, browse):
    browse.post("/plugins/words/start", {"back": "list"})
    answer = run(browse, "fail", input="{}")
    assert answer.status >= 400
    assert "main.lua:14" in answer.text


def test_an_action_of_a_stopped_plugin(core, browse):
    assert "words is stopped" in browse.get("/plugins/words/actions/fail").text
    assert run(browse, "fail", input="{}").status == 503


def test_what_is_not_there(core, browse):
    assert browse.get("/plugins/nobody").status == 404
    assert browse.get("/plugins/words/actions/nothing").status == 404
    assert "there are: count, fail, join, size" in browse.get("/plugins/words/actions/nothing").text
    assert browse.post("/plugins/words/explode", {"back": "list"}).status == 404
    assert browse.post("/plugins/words/start").status == 400


def test_the_log_is_shown_and_followed(core, web, browse):
    browse.post("/plugins/words/start", {"back": "list"})
    run(browse, "count", input="blog/intro")
    page = browse.get("/plugins/words").text
    assert "&lt;b&gt;counted&lt;/b&gt; 3" in page
    place = page.partition('data-place="')[2].partition('"')[0]
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
    connection.request("GET", f"/plugins/words/log?place={place}", headers={"Cookie": browse.cookie})
    stream = connection.getresponse()
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    run(browse, "count", input="blog/intro")
    assert stream.readline() == b"event: text\n"
    added = json.loads(stream.readline().removeprefix(b"data: "))
    assert "<b>counted</b> 3" in added["text"]
    assert added["text"].count("counted") == 1
    connection.close()
