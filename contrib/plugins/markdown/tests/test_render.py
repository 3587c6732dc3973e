from reed.plugin import reed
from reed.plugin.testing import call, fails


def html(text: str) -> str:
    found: str = call("render", {"markdown": text})["html"]
    return found


def test_markdown_becomes_html() -> None:
    assert html("Some *words* and `code`.") == "<p>Some <em>words</em> and <code>code</code>.</p>"
    assert "<td>1</td>" in html("| a |\n|---|\n| 1 |")
    assert html("~~gone~~") == "<p><s>gone</s></p>"


def test_html_is_escaped() -> None:
    assert html("<script>alert(1)</script>") == "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"
    assert "<img" not in html("a <img src=x onerror=alert(1)> b")


def test_links_that_run_code_stay_text() -> None:
    for link in ("javascript:alert(1)", "JaVaScRiPt:alert(1)", "&#106;avascript:x", "vbscript:x", "data:text/html,x"):
        assert "href" not in html(f"[click]({link})")
    assert html("[site](https://example.org)") == '<p><a href="https://example.org">site</a></p>'


def test_attributes_are_quoted() -> None:
    assert 'onload="' not in html('[x](https://example.org "a\\" onload=\\"alert(1)")')


def test_headings_have_ids_of_their_own() -> None:
    answer = call("render", {"markdown": "# One\n\n## One\n\n## *Two* `x`"})
    assert [each["id"] for each in answer["headings"]] == ["one", "one-2", "two-x"]
    assert [each["level"] for each in answer["headings"]] == [1, 2, 2]
    assert '<h2 id="one-2">One</h2>' in answer["html"]
    reed.settings["heading_ids"] = False
    assert html("# One") == "<h1>One</h1>"


def test_a_heading_cannot_break_out_of_its_id() -> None:
    assert '<h1 id="a-onclick-x">' in html('# a" onclick="x')


def test_a_page_is_rendered_by_its_field() -> None:
    page = {"name": "about", "content": {"body": "text", "intro": "*short*"}}
    assert call("page", page)["html"] == "<p>text</p>"
    reed.settings["field"] = "intro"
    assert call("page", page)["html"] == "<p><em>short</em></p>"
    with fails("no text 'intro'"):
        call("page", {"name": "about", "content": {}})


def test_input_is_checked() -> None:
    with fails("expected"):
        call("render", {"text": "x"})
    reed.settings["max_bytes"] = 10
    with fails("a text of 11 bytes") as failure:
        call("render", {"markdown": "x" * 11})
    assert failure.error.status == 413
