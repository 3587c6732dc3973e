"""Reading words: what is accepted, and that everything else is told with how to write it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed.cli import COMMANDS, main
from reed.cli.parse import Form, Option, UsageError, help_text, parse

FORM = Form(
    lambda args, output: 0,
    "PARENT [CHILD]",
    "Try",
    (Option("--weight", "N", number=range(-9, 10)), Option("--tag", "T", many=True), Option("--all", short="-a")),
)
MANY = Form(lambda args, output: 0, "WORD…", "Try")


def test_words_and_options_in_any_order():
    args = parse("try", FORM, ["--weight", "-3", "home", "--tag=a=b", "-a", "bread", "--tag", "c"])
    assert (args.word("PARENT"), args.word("CHILD")) == ("home", "bread")
    assert args.number("--weight") == -3
    assert args.texts("--tag") == ["a=b", "c"]
    assert args.has("--all")


def test_a_short_option_may_hold_its_value_or_follow_switches():
    form = Form(
        lambda args, output: 0,
        "[NAME]",
        "Try",
        (Option("--lines", "N", number=range(99), short="-n"), Option("--follow", short="-f")),
    )
    for words in (["-n3"], ["-n", "3"], ["-n=3"], ["-fn3"], ["-fn", "3"]):
        args = parse("try", form, [*words, "seo"])
        assert (args.number("--lines"), args.word("NAME")) == (3, "seo")
        assert args.has("--follow") == words[0].startswith("-f")
    for words, says in ((["-nx"], "found 'x'"), (["-fx"], "no option -x"), (["-f=1"], "--follow takes no value"),
                        (["-n"], "needs a value")):  # fmt: skip
        with pytest.raises(UsageError) as caught:
            parse("try", form, words)
        assert says in str(caught.value).replace("-f takes", "--follow takes")


def test_what_was_not_given():
    args = parse("try", FORM, ["home"])
    assert args.word("CHILD") == ""
    assert args.words("CHILD") == []
    assert args.text("--tag") is None
    assert args.number("--weight", 7) == 7
    assert not args.has("--all")


def test_after_two_dashes_all_are_words_and_one_dash_is_a_word():
    assert parse("try", MANY, ["-", "--", "-x", "--json"]).words("WORD") == ["-", "-x", "--json"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "PARENT is missing"),
        (["a", "b", "c"], "one word too many: 'c'"),
        (["a", "--wieght", "1"], "no option --wieght; did you mean '--weight'?"),
        (["a", "--weight"], "--weight needs a value: N"),
        (["a", "--weight", "heavy"], "--weight: expected a whole number from -9 to 9, found 'heavy'"),
        (["a", "--weight=١"], "expected a whole number"),
        (["a", "--weight", "10"], "--weight: expected a whole number from -9 to 9, found '10'"),
        (["a", "--all=yes"], "--all takes no value"),
    ],
)
def test_what_is_wrong_is_told_with_how_to_write_it(words, says):
    with pytest.raises(UsageError) as caught:
        parse("try", FORM, words)
    assert says in str(caught.value)
    assert "reed try PARENT [CHILD] [--weight N] [--tag T]… [--all]" in str(caught.value)


@given(st.lists(st.one_of(st.text(), st.sampled_from(["--weight", "--tag", "-a", "--", "-", "--help", "--json="]))))
def test_any_words_are_read_or_refused(words):
    with contextlib.suppress(UsageError):
        args = parse("try", FORM, words)
        assert args.has("--help") or args.words("PARENT")


def test_help_names_every_option():
    text = help_text("try", FORM)
    assert all(option in text for option in ("--weight N", "--tag T", "-a, --all", "--json", "--runtime-dir DIR"))


@pytest.mark.parametrize("noun", COMMANDS)
def test_every_command_explains_itself(noun, capsys):
    assert main([noun, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"reed {noun}")
    for line in out.splitlines():
        if line.startswith(f"reed {noun} ") and "  " in line:
            verb = line.split()[2]
            assert main([noun, verb, "--help"]) == 0
            assert capsys.readouterr().out.startswith(f"reed {noun} {verb}")


def test_wrong_commands(reed):
    for words, says in (
        (["plguin"], "no command 'plguin'; did you mean 'plugin'?"),
        (["plugin", "stats"], "no command 'plugin stats'; did you mean 'status'?"),
        (["snippet"], "snippet: what?; one of create, get, update, rename, delete, list"),
        (["plugin", "list", "--jsn"], "did you mean '--json'?"),
        (["plugin", "signal", "x", "wak"], "no signal 'wak'; did you mean 'wake'?"),
        (["snippet", "get", "$"], "the REF is empty"),
        (["snippet", "create", "page"], "give one of JSON, --file F and -"),
    ):
        ran = reed(*words)
        assert ran.code == 2, words
        assert says in ran.err
        assert ran.err.startswith("reed: ")


def test_no_command_is_wrong_usage_and_help_is_not(reed):
    assert reed().code == 2
    assert "reed plugin" in reed().err
    assert reed("--help").code == 0
    assert "reed plugin" in reed("-h").out
    assert reed("--version").out.startswith("reed ")
    assert reed("-v").out == reed("--version").out


@pytest.mark.parametrize("words", [["plugin"], ["snippet", "create"], ["status"]])
def test_help_before_a_command_is_its_help(words, capsys):
    assert main([*words, "--help"]) == 0
    told = capsys.readouterr().out
    assert main(["help", *words]) == 0
    assert capsys.readouterr().out == told
