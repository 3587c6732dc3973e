from reed.plugin.testing import call, core, fails


def page(content: dict[str, object]) -> dict[str, object]:
    """A snippet as the core sends it."""
    return {"id": "0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b", "type": "page", "name": "about", "content": content}


def test_it_counts_words_and_rounds_minutes_up() -> None:
    assert call("count", page({"body": "A few words."})) == {"words": 3, "minutes": 1}
    assert call("count", page({"body": "word " * 401}))["minutes"] == 3
    assert core.log[0]["text"] == "about has 3 words"


def test_it_rejects_a_page_without_a_body() -> None:
    with fails("no body") as failure:
        call("count", page({"title": "About"}))
    assert failure.error.status == 422
