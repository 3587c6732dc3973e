"""The pages in a real browser: scripts run, forms are sent, keys work, and axe-core finds nothing serious."""

from __future__ import annotations

import http.client

import pytest

by = pytest.importorskip(
    "selenium.webdriver.common.by", reason="selenium is not here: pip install selenium; no test in a browser"
).By
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys

MANIFEST = """
description: Words of a page
actions:
  count: {command_id: 1, input: snippet, description: Words of a page}
  join: {command_id: 2, input: json, example: {words: [a, b], by: "-", loud: false}}
"""
MAIN = """local reed = require "reed"
local plugin = reed.create_plugin { name = "words", version = "1.0.0" }
plugin.action("count", function(payload)
  local page = json.decode(payload)
  local _, count = page.content.title:gsub("%S+", "")
  reed.log.info("counted " .. page.content.title)
  return { title = page.content.title, count = count }
end)
plugin.action("join", function(payload)
  local given = json.decode(payload)
  return { text = table.concat(given.words, given.by) }
end)
plugin.run()
"""
TITLE = "<script>document.title = 'harmed'</script> two words"


@pytest.fixture
def core(site):
    site.add_lua_plugin("words", MAIN, MANIFEST)
    site.set_rows('words,lua,{},1.0.0,"snippet_read","editor,admin",true,"Words of a page"')
    site.start()
    client = site.client()
    client.plugin_start("words")
    client.registry_define("page", {"searchable": {"title": 3}})
    client.snippet_create("page", "blog/intro", {"title": TITLE})
    return site


def button(browser, name: str):
    return browser.find_element(by.XPATH, f"//button[normalize-space()='{name}' or @aria-label='{name}']")


def text_of(browser, selector: str) -> str:
    return browser.find_element(by.CSS_SELECTOR, selector).text


def test_signing_in_and_out(browser, web, wait_for):
    assert "Overview" in text_of(browser, "h1")
    cookie = browser.get_cookie(f"reed-{web.port}")
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert browser.execute_script("return document.cookie") == ""
    button(browser, "Sign out").click()
    wait_for(lambda: "you are not signed in" in text_of(browser, "main"))


def test_the_overview_is_renewed(core, browser, wait_for):
    before = text_of(browser, '[data-key="Core/Running for"]')
    wait_for(lambda: text_of(browser, '[data-key="Core/Running for"]') != before)
    wait_for(lambda: browser.find_element(by.TAG_NAME, "polyline").get_attribute("points"))
    core.client().snippet_create("page", "", {"title": "another"})
    wait_for(lambda: text_of(browser, '[data-key="Store/Snippets"]') == "2")


def test_the_page_says_that_the_core_is_away_and_comes_back(core, browser, wait_for):
    core.stop()
    wait_for(lambda: "core not running" in text_of(browser, "#notices"))
    core.start()
    wait_for(lambda: not text_of(browser, "#notices"))
    wait_for(lambda: text_of(browser, '[data-key="Core/Version"]').endswith(f"pid {core.pid}"))


def test_stop_and_start_a_plugin(browser, open_page, wait_for):
    open_page("/plugins")
    state = '[data-key="words/state"]'
    wait_for(lambda: text_of(browser, state) == "ready")
    button(browser, "Stop words").click()
    wait_for(lambda: "words is stopped" in text_of(browser, "#notices"))
    assert text_of(browser, state) == "stopped"
    assert not button(browser, "Stop words").is_displayed()
    start = button(browser, "Start words")
    start.send_keys(Keys.ENTER)
    wait_for(lambda: "words is ready" in text_of(browser, "#notices"))
    assert text_of(browser, state) == "ready"


def test_the_state_is_renewed_without_a_click(core, browser, open_page, wait_for):
    open_page("/plugins")
    core.client().plugin_stop("words")
    wait_for(lambda: text_of(browser, '[data-key="words/state"]') == "stopped")
    assert button(browser, "Start words").is_displayed()


def test_run_an_action_on_a_snippet_whose_title_is_a_script(browser, open_page, wait_for):
    open_page("/plugins/words")
    browser.find_element(by.LINK_TEXT, "count").click()
    field = wait_for(lambda: browser.find_element(by.ID, "input"))
    field.send_keys("blog/intro", Keys.ENTER)
    answer = wait_for(lambda: text_of(browser, "[aria-label='Text of the answer']"))
    assert TITLE in answer.replace("\\", "")
    assert "harmed" not in browser.title
    open_page("/plugins/words")
    wait_for(lambda: TITLE in text_of(browser, "#log"))
    assert "harmed" not in browser.title


def test_run_an_action_with_a_form_made_from_its_example(browser, open_page, wait_for):
    open_page("/plugins/words/actions/join")
    field = browser.find_element(by.NAME, "field.by")
    field.clear()
    field.send_keys("+")
    button(browser, "Run join").click()
    wait_for(lambda: '"a+b"' in text_of(browser, "[aria-label='Text of the answer']"))


def test_the_log_grows(core, browser, open_page, wait_for):
    open_page("/plugins/words")
    core.client().plugin_send("words", "count", "blog/intro")
    wait_for(lambda: "counted" in text_of(browser, "#log"))
    button(browser, "Pause").click()
    assert button(browser, "Continue").get_attribute("aria-pressed") == "true"


def test_watch_filter_pause_and_continue_the_monitor(core, browser, open_page, wait_for):
    open_page("/monitor")
    core_client = core.client()

    def rows() -> str:
        core_client.snippet_get("blog/intro")
        core_client.search("words")
        return text_of(browser, "#frames")

    wait_for(lambda: "SNIPPET_GET" in rows() and "SEARCH_QUERY" in rows())
    field = browser.find_element(by.ID, "text")
    field.send_keys("search", Keys.ENTER)
    button(browser, "Clear").click()
    wait_for(lambda: "SEARCH_QUERY" in rows())
    assert "SNIPPET_GET" not in text_of(browser, "#frames")
    button(browser, "Pause").click()
    shown = text_of(browser, "#frames")
    wait_for(lambda: rows() and "during the pause" in text_of(browser, "#count"))
    assert text_of(browser, "#frames") == shown
    button(browser, "Continue").click()
    assert text_of(browser, "#frames") != shown


def test_frames_are_saved_for_replay(core, browser, open_page, wait_for, tmp_path):
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    open_page("/monitor")
    client = core.client()
    wait_for(lambda: client.plugin_send("words", "count", "blog/intro") and "count" in text_of(browser, "#frames"))
    button(browser, "Save").click()
    saved = tmp_path / "reed.frames"
    wait_for(saved.exists)
    printed = core.reed("monitor", "--from-file", str(saved)).stdout
    assert "count" in printed
    assert "plugin words" in printed


def test_another_name_of_the_server_shows_nothing(browser, web):
    """As a browser would ask whose evil.example points to 127.0.0.1."""
    connection = http.client.HTTPConnection("127.0.0.1", web.port)
    cookie = browser.get_cookie(f"reed-{web.port}")
    headers = {"Host": f"evil.example:{web.port}", "Cookie": f"{cookie['name']}={cookie['value']}"}
    connection.request("GET", "/", headers=headers)
    assert connection.getresponse().status == 421
    connection.close()
    browser.get(f"http://evil.localhost:{web.port}/")
    assert "this server is not called" in browser.page_source
    assert "Overview" not in browser.page_source


def test_a_script_that_is_not_of_the_server_does_not_run(browser):
    browser.execute_script(
        "const script = document.createElement('script'); script.textContent = \"document.title = 'harmed'\";"
        "document.body.append(script);"
    )
    assert browser.title != "harmed"
    assert [entry for entry in browser.get_log("browser") if "Content Security Policy" in entry["message"]]


def test_the_first_key_leads_past_the_navigation(browser):
    browser.switch_to.active_element.send_keys(Keys.TAB)
    link = browser.switch_to.active_element
    assert link.text == "Skip to the content"
    assert link.location["x"] >= 0
    link.send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.get_attribute("id") == "main"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "path", ["/", "/plugins", "/plugins/words", "/plugins/words/actions/join", "/monitor", "/nothing-here"]
)
def test_axe_finds_nothing_serious(browser, open_page, accessible, path, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    open_page(path)
    accessible()


def test_on_a_phone_no_page_is_wider_than_the_screen(browser, open_page):
    size = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    for path in ("/", "/plugins", "/plugins/words", "/plugins/words/actions/join", "/monitor"):
        open_page(path)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 360, path
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
