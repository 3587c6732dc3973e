from reed.plugin import reed
from reed.plugin.testing import call, fails


def test_it_greets_by_name() -> None:
    assert call("greet", {"name": "Ada"}) == {"greeting": "Hello, Ada!"}


def test_it_uses_the_greeting_of_the_settings() -> None:
    reed.settings["greeting"] = "Good morning"
    assert call("greet", {"name": "Ada"}) == {"greeting": "Good morning, Ada!"}


def test_it_rejects_input_without_a_name() -> None:
    with fails("expected") as failure:
        call("greet", {})
    assert failure.error.status == 422
