"""Content and Search over HTTP: a real core, a real `reed web`."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest

from reed.client import Client
from reed.errors import NotFound

ARTICLE = {
    "description": "An article",
    "schema": {
        "type": "object",
        "required": ["title"],
        "properties": {
            "title": {"type": "string", "minLength": 1},
            "rating": {"type": "integer", "maximum": 5},
            "keywords": {"type": "array", "items": {"type": "string", "maxLength": 8}},
            "author": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        },
    },
    "searchable": {"title": 3, "body": 1},
    "unique": ["title"],
}
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def client(core):
    with Client(core.socket_path) as client:
        client.registry_define("article", ARTICLE)
        yield client


def controls(page: str) -> dict[str, str]:
    """What a browser would send for the form with the id `edit`."""
    form = re.search(r'<form[^>]*id="edit".*?</form>', page, re.DOTALL)
    assert form, page
    found: dict[str, str] = {}
    for tag in re.finditer(r"<(input|textarea|select)\b([^>]*)>(?:\n?(.*?)</\1>)?", form[0], re.DOTALL):
        kind, attributes, inner = tag.groups()
        name = re.search(r'name="([^"]*)"', attributes)
        value = re.search(r'value="([^"]*)"', attributes)
        assert name
        if kind == "select":
            value = re.search(r'value="([^"]*)" selected', inner or "")
        text = (inner or "") if kind == "textarea" else value[1] if value else ""
        found[html.unescape(name[1])] = html.unescape(text)
    return found


def edit(browse: Any, path: str, **changes: str) -> Any:
    """Open the form at the path, type the changes and send it."""
    fields = controls(browse.get(path).text)
    named = {f"/{name.replace('__', '/')}": value for name, value in changes.items() if name != "action"}
    assert named.keys() <= fields.keys(), fields
    return browse.post(path, fields | named | {"action": changes.get("action", "save")})


def texts(page: str) -> str:
    """The text of a page as a reader sees it."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page)))


# The list and the types.


def test_the_list_shows_snippets_as_text(client, browse) -> None:
    client.snippet_create("article", "first", {"title": SCRIPT, "body": "<b>bold</b>"})
    page = browse.get("/content")
    assert page.status == 200
    assert "first" in texts(page.text)
    assert SCRIPT in texts(page.text)
    assert SCRIPT not in page.text


def test_the_list_is_filtered_and_sorted(client, browse) -> None:
    for name, rating in (("b", 1), ("a", 2), ("other/c", 2)):
        client.snippet_create("article", name, {"title": f"Title {name}", "rating": rating})
    client.snippet_update("b", {"rating": 3})

    def names(query: str) -> list[str]:
        found = re.findall(r'<th scope="row"><a [^>]*>([^<]*)</a>', browse.get(f"/content?{query}").text)
        return [html.unescape(name) for name in found]

    assert names("") == ["b", "a", "other/c"]
    assert names("sort=name") == ["a", "b", "other/c"]
    assert names("sort=updated")[0] == "b"
    assert names("sort=created") == ["other/c", "a", "b"]
    assert names("type=article&where=rating%3D2") == ["a", "other/c"]
    assert names("type=article&where=rating%3D2&where=title%3DTitle+a") == ["a"]
    assert names("name=other/") == ["other/c"]
    assert names("name=other/&type=page") == []


def test_a_condition_without_a_type_and_one_that_is_none_are_explained(client, browse) -> None:
    page = browse.get("/content?where=rating%3D2")
    assert page.status == 400
    assert "a condition needs a type" in texts(page.text)
    assert "write FIELD=VALUE" in texts(browse.get("/content?type=article&where=rating").text)


def test_a_long_list_has_pages(client, browse) -> None:
    for number in range(60):
        client.snippet_create("article", f"n{number:02}", {"title": f"T{number}"})
    for query in ("", "?sort=name", "?name=n"):
        page = browse.get(f"/content{query}")
        following = re.search(r'rel="next" href="([^"]*)"', page.text)
        assert following
        assert "n49" in page.text
        assert "n50" not in page.text
        page = browse.get(html.unescape(following[1]))
        assert "n49" not in page.text
        assert "n59" in page.text
        assert "First page" in page.text
        assert 'rel="next"' not in page.text


def test_types_are_shown_with_their_schema(client, browse) -> None:
    assert "An article" in texts(browse.get("/content/types").text)
    page = texts(browse.get("/content/types/article").text)
    assert "title required string at least 1 characters" in page
    assert "Unique title" in page
    assert browse.get("/content/types/nothing").status == 404


def test_a_snippet_is_opened_by_its_name(client, browse) -> None:
    snippet_id = client.snippet_create("article", "blog/intro", {"title": "T"})
    answer = browse.get("/content/open?name=$blog/intro&type=")
    assert (answer.status, answer.headers["Location"]) == (303, f"/content/snippets/{snippet_id}")
    assert browse.json("/content/names?prefix=blog") == ["blog/intro"]


# One snippet.


def test_a_form_saves_what_was_changed_and_keeps_everything_else(client, browse) -> None:
    text = b'{ "title": "T", "n": 1.0, "big": 12345678901234567890, "author": {"name": "A", "x": [1e2]}, "z": null }'
    path = f"/content/snippets/{client.snippet_create('article', 'a', text)}"
    answer = edit(browse, path, title="U", author__name="B")
    assert answer.status == 303
    assert "saved as version 2" in browse.get(path).text
    assert client.snippet_get("a").content == text.replace(b'"T"', b'"U"').replace(b'"A"', b'"B"')


def test_a_form_that_nobody_touched_writes_nothing(client, browse) -> None:
    text = b'{"title": "a\\r\\nb", "html": "<&\\"\\u0000", "lines": ["\\nx", ""], "n": [1.0, 1], "body": "\\n\\nx"}'
    path = f"/content/snippets/{client.snippet_create('article', 'a', text)}"
    assert edit(browse, path).status == 303
    assert "nothing was changed" in browse.get(path).text
    assert edit(browse, f"{path}/json").status == 303
    record = client.snippet_get("a")
    assert (record.version, record.content) == (1, text)


def test_errors_of_the_core_are_at_their_fields(client, browse) -> None:
    path = f"/content/snippets/{client.snippet_create('article', 'a', {'title': 'T', 'keywords': ['k']})}"
    answer = edit(browse, path, rating="7", keywords__0="much too long")
    assert answer.status == 422
    page = answer.text
    assert "7 is greater than the maximum of 5" in texts(page)
    (rating,) = re.findall(r'<input type="text"\s+id="(f[^"]*)" name="/rating"([^>]*)>', page)
    assert 'aria-invalid="true"' in rating[1]
    described = re.search(r'aria-describedby="([^"]*)"', rating[1])
    assert described
    assert f"{rating[0]}-problem" in described[1].split()
    assert f'id="{rating[0]}-problem"' in page
    assert f'<a href="#{rating[0]}">rating</a>' in page
    assert controls(page)["/rating"] == "7"  # what was typed
    assert client.snippet_get("a").version == 1


def test_numbers_that_are_none_are_refused_before_the_core_is_asked(client, browse) -> None:
    path = f"/content/snippets/{client.snippet_create('article', 'a', {'title': 'T'})}"
    answer = edit(browse, path, rating="two")
    assert answer.status == 422
    assert "this is no number" in texts(answer.text)


def test_a_unique_value_that_is_in_use_is_an_error_of_its_field(client, browse) -> None:
    client.snippet_create("article", "other", {"title": "Taken"})
    path = f"/content/snippets/{client.snippet_create('article', 'a', {'title': 'T'})}"
    answer = edit(browse, path, title="Taken")
    assert answer.status == 409
    assert "title is unique among snippets" in texts(answer.text)
    assert 'id="f-2f-title-problem"' in answer.text


def test_items_are_added_and_moved_without_a_script(client, browse) -> None:
    path = f"/content/snippets/{client.snippet_create('article', 'a', {'title': 'T', 'keywords': ['one', 'two']})}"
    page = edit(browse, path, action="add:/keywords").text
    page = browse.post(path, controls(page) | {"/keywords/2": "three", "action": "up:/keywords/2"}).text
    page = browse.post(path, controls(page) | {"action": "remove:/keywords/0"}).text
    assert browse.post(path, controls(page) | {"action": "save"}).status == 303
    assert json.loads(client.snippet_get("a").content)["keywords"] == ["three", "two"]


def test_json_is_checked_and_saved(client, browse) -> None:
    path = f"/content/snippets/{client.snippet_create('article', 'a', {'title': 'T', 'n': 1})}/json"
    fields = controls(browse.get(path).text)
    assert fields["content"] == '{\n  "title": "T",\n  "n": 1\n}'
    answer = browse.post(path, fields | {"content": '{"title": "T",\n "n": }'})
    assert answer.status == 400
    assert "line 2 column 7" in texts(answer.text)
    answer = browse.post(path, fields | {"content": '{"title": 5}'})
    assert answer.status == 422
    assert 'title : 5 is not of type "string"' in texts(answer.text)
    answer = browse.post(path, fields | {"content": '{"title": "T", "n": null}'})
    assert "$.n: an update cannot set a member to null" in texts(answer.text)
    assert browse.post(path, fields | {"content": '{"title": "T", "n": 1.0, "m": [null]}'}).status == 303
    assert client.snippet_get("a").content == b'{"title":"T","n":1.0,"m":[null]}'


def test_a_new_snippet_is_created_from_a_form_and_from_json(client, browse) -> None:
    fields = controls(browse.get("/content/new?type=article").text) | {"action": "save"}
    answer = browse.post("/content/new", fields | {"/title": ""})
    assert answer.status == 422
    assert "title : is required" in texts(answer.text)
    answer = browse.post("/content/new", fields | {"/title": "T", "name": "not a name"})
    assert answer.status == 422
    assert "expected A-Z a-z 0-9" in texts(answer.text)
    answer = browse.post("/content/new", fields | {"/title": "T", "name": "blog/new", "/rating": "3"})
    assert answer.status == 303
    record = client.snippet_get("blog/new")
    assert answer.headers["Location"] == f"/content/snippets/{record.id}"
    assert record.content == b'{"title":"T","rating":3}'
    answer = browse.post("/content/new", fields | {"/title": "U", "name": "blog/new"})
    assert answer.status == 409
    assert "is in use by" in texts(answer.text)
    written = '{"title": "By  hand",\r\n "n": 1.0}'
    assert browse.post("/content/new", {"type": "article", "name": "j", "content": written}).status == 303
    assert client.snippet_get("j").content == b'{"title": "By  hand",\n "n": 1.0}'


# Two people at once.


def test_a_conflict_shows_both_versions_and_joins_what_is_chosen(client, browse) -> None:
    first = {"title": "T", "rating": 1, "body": "one\ntwo\nthree", "n": 1}
    path = f"/content/snippets/{client.snippet_create('article', 'a', first)}"
    fields = controls(browse.get(path).text)
    client.snippet_update("a", {"title": "Theirs", "n": 2})
    answer = browse.post(path, fields | {"/title": "Mine", "/body": "one\ntwo\nfour", "action": "save"})
    assert answer.status == 409
    page = texts(answer.text)
    assert "Nothing was saved. Version 2 was written" in page
    assert "title both changed it" in page
    assert "body only you changed it" in page
    assert "n only they changed it" in page
    assert '<del><span class="hidden-visually">theirs: </span>three</del>' in answer.text
    resolved = hidden(answer.text)
    again = browse.post(f"{path}/resolve", resolved | {"action": "chosen"})
    assert again.status == 422
    assert "Choose one version of: title" in texts(again.text)
    done = browse.post(f"{path}/resolve", resolved | {"action": "chosen", "choose:/title": "mine"})
    assert done.status == 303
    record = client.snippet_get("a")
    assert record.version == 3
    assert json.loads(record.content) == {"title": "Mine", "rating": 1, "body": "one\ntwo\nfour", "n": 2}


def test_another_change_during_a_conflict_is_a_conflict_again(client, browse) -> None:
    path = f"/content/snippets/{client.snippet_create('article', 'a', {'title': 'T'})}"
    fields = controls(browse.get(path).text)
    client.snippet_update("a", {"title": "Theirs"})
    resolved = hidden(browse.post(path, fields | {"/title": "Mine", "action": "save"}).text)
    client.snippet_update("a", {"title": "Later"})
    answer = browse.post(f"{path}/resolve", resolved | {"action": "mine"})
    assert answer.status == 409
    assert "It was changed again" in texts(answer.text)
    assert browse.post(f"{path}/resolve", hidden(answer.text) | {"action": "mine"}).status == 303
    assert json.loads(client.snippet_get("a").content) == {"title": "Mine"}


def hidden(page: str) -> dict[str, str]:
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page)
    return {html.unescape(name): html.unescape(value) for name, value in found}


def test_what_was_written_for_a_deleted_snippet_can_be_kept(client, browse) -> None:
    path = f"/content/snippets/{client.snippet_create('article', 'a', {'title': 'T', 'n': 1.5})}"
    fields = controls(browse.get(path).text)
    client.snippet_delete("a")
    answer = browse.post(path, fields | {"/title": "Mine", "action": "save"})
    assert answer.status == 404
    assert "It was deleted" in texts(answer.text) or "was deleted meanwhile" in texts(answer.text)
    (again,) = re.findall(r'<form class="panel" method="post" action="/content/new">.*?</form>', answer.text, re.DOTALL)
    assert browse.post("/content/new", hidden(again)).status == 303
    assert json.loads(client.snippet_get("a").content) == {"title": "Mine", "n": 1.5}


# Rename, delete, restore.


def test_a_snippet_is_renamed(client, browse) -> None:
    path = f"/content/snippets/{client.snippet_create('article', 'a', {'title': 'T'})}"
    assert browse.post(f"{path}/rename", {"name": "b"}).status == 303
    assert client.snippet_get("b").version == 2
    client.snippet_create("article", "c", {"title": "U"})
    answer = browse.post(f"{path}/rename", {"name": "c"})
    assert answer.status == 409
    assert "is in use by" in texts(answer.text)


def test_a_deleted_snippet_is_restored_with_its_bonds(client, browse) -> None:
    ids = {name: client.snippet_create("article", name, {"title": name}) for name in ("top", "a", "below")}
    client.schema_bond("top", "a", 7, "/a")
    client.schema_bond("a", "below")
    before = client.snippet_get("a")
    path = f"/content/snippets/{ids['a']}"
    assert "Remove its 2 bonds too" in texts(browse.get(f"{path}/delete").text)
    assert browse.post(f"{path}/delete").status == 409
    answer = browse.post(f"{path}/delete", {"cascade": "1"})
    assert answer.status == 200
    with pytest.raises(NotFound):
        client.snippet_get("a")
    assert browse.post("/content/restore", hidden(answer.text)).status == 303
    assert client.snippet_get("a") == before
    (tree,) = client.schema_tree()
    assert (tree["name"], tree["children"][0]["weight"], tree["children"][0]["path"]) == ("top", 7, "/a")
    assert tree["children"][0]["children"][0]["name"] == "below"


# The tree.


BONDS = (("top", "a"), ("top", "b"), ("top", "c"), ("a", "a1"), ("a", "a2"))


@pytest.fixture
def tree(client) -> dict[str, str]:
    """top: a (below: a1, a2), b, c"""
    ids = {name: client.snippet_create("article", name, {"title": name}) for name in ("top", "a", "b", "c", "a1", "a2")}
    for parent, child in BONDS:
        client.schema_bond(parent, child)
    return ids


def drawn(client: Client) -> str:
    def draw(node: dict[str, Any]) -> str:
        below = " ".join(map(draw, node["children"]))
        return f"{node['name']}({below})" if below else node["name"]

    return " ".join(map(draw, client.schema_tree()))


MOVES = {
    "up top b": "top(b a(a1 a2) c)",
    "up top a": "top(a(a1 a2) b c)",
    "down top a": "top(b a(a1 a2) c)",
    "down top c": "top(a(a1 a2) b c)",
    "in top b": "top(a(a1 a2 b) c)",
    "out a a1 top": "top(a(a2) a1 b c)",
    "out a a2 top": "top(a(a1) a2 b c)",
    "to top c a a2": "top(a(a1 c a2) b)",
    "to a a2 a a1": "top(a(a2 a1) b c)",
    "to a a1 top": "top(a(a2) b c a1)",
    "remove a a1": "top(a(a2) b c)",
}


def test_the_tree_is_rearranged(client, browse, tree) -> None:
    for order, expected in MOVES.items():
        verb, *names = order.split()
        answer = browse.post("/content/tree", {"do": " ".join([verb, *(tree[name] for name in names)]), "root": ""})
        assert answer.status == 303
        assert drawn(client) == expected, order
        again(client)


def again(client: Client) -> None:
    """The bonds of `tree` as they were at first."""
    for root in client.schema_tree():
        unbond_below(client, root)
    for parent, child in BONDS:
        client.schema_bond(parent, child)


def unbond_below(client: Client, node: dict[str, Any]) -> None:
    for child in node["children"]:
        client.schema_unbond(node["id"], child["id"])
        unbond_below(client, child)


def test_the_buttons_of_the_tree_say_what_they_move(client, browse, tree) -> None:
    page = browse.get("/content/tree").text
    value = f'value="in {tree["top"]} {tree["b"]}"'
    (button,) = re.findall(rf"<button[^>]*{value}[^>]*>", page)
    assert 'aria-label="Move in: b"' in button
    assert "disabled" not in button
    first = re.search(rf'<button[^>]*value="up {tree["top"]} {tree["a"]}"[^>]*>', page)
    assert first
    assert "disabled" in first[0]


def test_a_move_that_the_core_refuses_changes_nothing(client, browse, tree) -> None:
    answer = browse.post("/content/tree", {"do": f"to {tree['top']} {tree['a']} {tree['a1']}", "root": ""})
    assert answer.status == 409
    assert "would close a cycle" in texts(answer.text)
    client.schema_unbond("top", "b")
    answer = browse.post("/content/tree", {"do": f"up {tree['top']} {tree['b']}", "root": ""})
    assert answer.status == 404
    assert "is not below top any more" in texts(answer.text)
    assert browse.post("/content/tree", {"do": "fly away now", "root": ""}).status == 400
    assert drawn(client) == "top(a(a1 a2) c)"


def test_snippets_are_bonded_by_name(client, browse, tree) -> None:
    client.snippet_create("article", "d", {"title": "d"})
    assert browse.post("/content/tree/bonds", {"parent": "top", "child": "d", "root": ""}).status == 303
    assert drawn(client) == "top(a(a1 a2) b c d)"
    answer = browse.post("/content/tree/bonds", {"parent": "top", "child": "nobody", "root": ""})
    assert "no snippet 'nobody'" in texts(answer.text)


def test_of_a_large_tree_the_upper_levels_are_shown(client, browse) -> None:
    top = client.snippet_create("article", "top", {"title": "top"})
    middle = client.snippet_create("article", "middle", {"title": "middle"})
    client.schema_bond("top", "middle")
    for number in range(1001):
        client.snippet_create("article", f"n{number}", {"title": f"n{number}"})
        client.schema_bond("middle", f"n{number}")
    page = browse.get(f"/content/tree?root={top}")
    assert "1001 more below" in texts(page.text)
    assert "1002 more below" not in texts(page.text)
    page = browse.get(f"/content/tree?root={middle}")
    assert "n999" in page.text
    assert "and 1 more" in texts(page.text)


# Search.


def test_hits_are_marked_and_shown_as_text(client, browse) -> None:
    client.snippet_create("article", "", {"title": "Straße", "body": f"{SCRIPT} die große Straße"})
    client.registry_define("page", {})
    page = browse.get("/search?q=strasse")
    assert "1 to 1 of 1 hit" in texts(page.text)
    assert "<mark>Straße</mark>" in page.text
    assert SCRIPT not in page.text
    assert "No hits for" in texts(browse.get("/search?q=strasse&type=page").text)


def test_a_query_without_a_word_is_explained(client, browse) -> None:
    page = browse.get("/search?q=%2B%2B%2B")
    assert page.status == 400
    assert "the query has no word to search for; search for letters or digits" in texts(page.text)


def test_many_hits_have_pages(client, browse) -> None:
    for number in range(25):
        client.snippet_create("article", "", {"title": f"common {number}"})
    page = browse.get("/search?q=common")
    assert "1 to 20 of 25 hits" in texts(page.text)
    following = re.search(r'rel="next" href="([^"]*)"', page.text)
    assert following
    assert "21 to 25 of 25 hits" in texts(browse.get(html.unescape(following[1])).text)
