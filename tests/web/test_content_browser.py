"""Content in a real browser: a conflict, an error at its field, the tree by keyboard and mouse, a title with markup."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reed.client import Client

ARTICLE = {
    "schema": {
        "type": "object",
        "required": ["title"],
        "properties": {
            "title": {"type": "string", "minLength": 1},
            "rating": {"type": "integer", "maximum": 5},
            "keywords": {"type": "array", "items": {"type": "string"}},
            "body": {"type": "string"},
        },
    },
    "searchable": {"title": 3, "body": 1},
}
SCRIPT = "<script>document.title = 'taken over'</script>"


@pytest.fixture
def client(core):
    with Client(core.socket_path) as client:
        client.registry_define("article", ARTICLE)
        yield client


def named(browser: Any, name: str) -> Any:
    return browser.find_element("css selector", f'[name="{name}"]')


def save(browser: Any) -> None:
    browser.find_element("css selector", "#edit .actions button.primary").click()


def focused(browser: Any) -> Any:
    return browser.switch_to.active_element


def test_a_title_with_a_script_is_text_on_every_page(client, open_page, accessible) -> None:
    content = {"title": SCRIPT, "body": f"{SCRIPT}\nsecond line", "keywords": [SCRIPT]}
    snippet_id = client.snippet_create("article", "a", content)
    client.snippet_create("article", "b", {"title": "b"})
    client.schema_bond("a", "b")
    pages = (
        "/content",
        f"/content/snippets/{snippet_id}",
        f"/content/snippets/{snippet_id}/json",
        f"/content/snippets/{snippet_id}/delete",
        "/content/types/article",
        "/content/tree",
        "/content/new?type=article",
        "/search?q=script",
    )
    for path in pages:
        browser = open_page(path)
        assert browser.title != "taken over"
        accessible()
    browser = open_page(pages[1])
    assert named(browser, "/title").get_property("value") == SCRIPT
    assert "document.title" in open_page("/search?q=script").find_element("tag name", "main").text


def test_an_error_of_the_core_gets_the_focus_and_leads_to_its_field(client, open_page, wait_for, accessible) -> None:
    browser = open_page(f"/content/snippets/{client.snippet_create('article', 'a', {'title': 'T', 'rating': 1})}")
    named(browser, "/rating").clear()
    named(browser, "/rating").send_keys("7")
    save(browser)
    wait_for(lambda: focused(browser).get_attribute("id") == "summary")
    accessible()
    focused(browser).find_element("link text", "rating").click()
    field = named(browser, "/rating")
    wait_for(lambda: focused(browser) == field)
    problem = browser.find_element("id", field.get_attribute("aria-describedby").split()[-1])
    assert "7 is greater than the maximum of 5" in problem.text
    field.clear()
    field.send_keys("5\n")  # Enter saves
    wait_for(lambda: "saved as version 2" in browser.find_element("id", "notices").text)
    assert json.loads(client.snippet_get("a").content) == {"title": "T", "rating": 5}


def test_items_are_added_and_moved_by_keyboard(client, open_page, wait_for) -> None:
    browser = open_page(f"/content/snippets/{client.snippet_create('article', 'a', {'title': 'T', 'keywords': ['b']})}")
    named(browser, "/title").send_keys("itle")
    browser.find_element("css selector", 'button[value="add:/keywords"]').send_keys(" ")
    wait_for(lambda: focused(browser).get_attribute("name") == "/keywords/1")
    focused(browser).send_keys("a")
    browser.find_element("css selector", 'button[value="up:/keywords/1"]').send_keys("\n")
    wait_for(lambda: named(browser, "/keywords/0").get_property("value") == "a")
    save(browser)
    wait_for(lambda: "saved as version 2" in browser.find_element("id", "notices").text)
    assert json.loads(client.snippet_get("a").content) == {"title": "Title", "keywords": ["a", "b"]}


def test_a_conflict_is_resolved_value_by_value(client, open_page, wait_for, accessible) -> None:
    content = {"title": "T", "body": "one\ntwo", "rating": 1}
    browser = open_page(f"/content/snippets/{client.snippet_create('article', 'a', content)}")
    client.snippet_update("a", {"title": "Theirs", "rating": 2})
    named(browser, "/title").send_keys(" of mine")
    named(browser, "/body").send_keys("\nthree")
    save(browser)
    wait_for(lambda: browser.title.startswith("Conflict"))
    wait_for(lambda: focused(browser).get_attribute("id") == "summary")
    accessible()
    assert browser.find_element("css selector", "ins").text.split() == ["yours:", "three"]
    mine, theirs = browser.find_elements("name", "choose:/title")
    assert not mine.is_selected()
    assert not theirs.is_selected()
    mine.send_keys(" ")
    browser.find_element("css selector", 'button[value="chosen"]').click()
    wait_for(lambda: "saved as version 3" in browser.find_element("id", "notices").text)
    merged = {"title": "T of mine", "body": "one\ntwo\nthree", "rating": 2}
    assert json.loads(client.snippet_get("a").content) == merged


def drawn(client: Client) -> str:
    def draw(node: dict[str, Any]) -> str:
        below = " ".join(map(draw, node["children"]))
        return f"{node['name']}({below})" if below else node["name"]

    return " ".join(map(draw, client.schema_tree()))


@pytest.fixture
def tree(client) -> Client:
    for name in ("top", "a", "b", "c"):
        client.snippet_create("article", name, {"title": name})
    for child in ("a", "b", "c"):
        client.schema_bond("top", child)
    return client


def test_the_tree_is_rearranged_by_keyboard(tree, open_page, wait_for, accessible) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser = open_page("/content/tree")
    accessible()

    def press(key: str) -> None:
        ActionChains(browser).key_down(Keys.ALT).send_keys(key).key_up(Keys.ALT).perform()

    browser.execute_script("arguments[0].focus()", browser.find_element("link text", "c"))
    for key, expected in (
        (Keys.ARROW_UP, "top(a c b)"),
        (Keys.ARROW_RIGHT, "top(a(c) b)"),
        (Keys.ARROW_LEFT, "top(a c b)"),
        (Keys.ARROW_DOWN, "top(a b c)"),
    ):
        notices = browser.find_element("id", "notices").text
        press(key)
        wait_for(lambda expected=expected: drawn(tree) == expected)
        wait_for(lambda before=notices: browser.find_element("id", "notices").text not in {"", before})
        assert focused(browser).text == "c"
    button = browser.find_element("css selector", 'button[aria-label="Move up: b"]')
    button.send_keys(Keys.ENTER)
    wait_for(lambda: drawn(tree) == "top(b a c)")
    wait_for(lambda: focused(browser).text == "b")  # it cannot go up further: its name has the focus


def test_the_tree_is_rearranged_by_mouse(tree, open_page, wait_for) -> None:
    browser = open_page("/content/tree")

    def drag(name: str, onto: str, at: float) -> None:
        """Events as a browser sends them; the driver's own mouse does not drag reliably without a screen."""
        browser.execute_script(
            """const [name, onto, at] = arguments;
            const row = (text) => [...document.querySelectorAll(".row")].find(
                (each) => each.querySelector("a.node").textContent === text);
            const data = new DataTransfer();
            const {top, left, height} = row(onto).getBoundingClientRect();
            const fire = (element, type) => element.dispatchEvent(new DragEvent(type, {bubbles: true, cancelable: true,
                dataTransfer: data, clientX: left + 5, clientY: top + height * at}));
            fire(row(name).querySelector(".handle"), "dragstart");
            fire(row(onto), "dragover");
            fire(row(onto), "drop");
            fire(row(name).querySelector(".handle"), "dragend");""",
            name,
            onto,
            at,
        )

    for name, onto, at, expected in (
        ("c", "a", 0.1, "top(c a b)"),
        ("c", "b", 0.9, "top(a b c)"),
        ("b", "c", 0.5, "top(a c(b))"),
        ("b", "top", 0.1, "top(a c b)"),
    ):
        drag(name, onto, at)
        wait_for(lambda expected=expected: drawn(tree) == expected)
        wait_for(lambda name=name: focused(browser).text == name)


def test_names_are_suggested(client, open_page, wait_for) -> None:
    client.snippet_create("article", "blog/intro", {"title": "T"})
    browser = open_page("/content")
    named(browser, "name").send_keys("bl")
    wait_for(lambda: browser.execute_script("return document.querySelector('datalist option')?.value") == "blog/intro")
