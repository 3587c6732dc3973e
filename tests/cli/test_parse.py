"""The parser of the command line."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed.cli import COMMANDS, main, subcommands
from reed.cli.parse import Option, Subcommand, UsageError, help_text, parse

TRY = Subcommand(
    lambda args, output: 0,
    "PARENT [CHILD]",
    "Try",
    (Option("--weight", "N", number=range(-9, 10)), Option("--tag", "T", many=True), Option("--all", short="-a")),
)
MANY = Subcommand(lambda args, output: 0, "WORD…", "Try")


@pytest.mark.parametrize("noun", COMMANDS)
def test_every_subcommand_has_a_function(noun):
    for name, subcommand in subcommands(noun).items():
        assert callable(subcommand.run), name


def test_positionals_and_options_in_any_order():
    args = parse("try", TRY, ["--weight", "-3", "home", "--tag=a=b", "-a", "bread", "--tag", "c"])
    assert (args.arg("PARENT"), args.arg("CHILD")) == ("home", "bread")
    assert args.number("--weight") == -3
    assert args.texts("--tag") == ["a=b", "c"]
    assert args.has("--all")


def test_short_options():
    subcommand = Subcommand(
        lambda args, output: 0,
        "[NAME]",
        "Try",
        (Option("--lines", "N", number=range(99), short="-n"), Option("--follow", short="-f")),
    )
    for words in (["-n3"], ["-n", "3"], ["-n=3"], ["-fn3"], ["-fn", "3"]):
        args = parse("try", subcommand, [*words, "seo"])
        assert (args.number("--lines"), args.arg("NAME")) == (3, "seo")
        assert args.has("--follow") == words[0].startswith("-f")
    for words, named in ((["-nx"], "'x'"), (["-fx"], "-x"), (["-f=1"], "-f"), (["-n"], "-n")):
        with pytest.raises(UsageError, match=named):
            parse("try", subcommand, words)


def test_defaults():
    args = parse("try", TRY, ["home"])
    assert args.arg("CHILD") == ""
    assert args.arg_list("CHILD") == []
    assert args.text("--tag") is None
    assert args.number("--weight", 7) == 7
    assert not args.has("--all")


def test_two_dashes_end_the_options_and_one_dash_is_an_argument():
    assert parse("try", MANY, ["-", "--", "-x", "--json"]).arg_list("WORD") == ["-", "-x", "--json"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "PARENT"),
        (["a", "b", "c"], "'c'"),
        (["a", "--wieght", "1"], "did you mean '--weight'?"),
        (["a", "--weight"], "--weight"),
        (["a", "--weight", "heavy"], "from -9 to 9, found 'heavy'"),
        (["a", "--weight=١"], "found '١'"),
        (["a", "--weight", "10"], "from -9 to 9, found '10'"),
        (["a", "--all=yes"], "--all"),
    ],
)
def test_usage_errors_carry_the_usage_line(words, named):
    with pytest.raises(UsageError) as caught:
        parse("try", TRY, words)
    assert named in caught.value.message + caught.value.hint.partition("\n")[0]
    assert "reed try PARENT [CHILD] [--weight N] [--tag T]… [--all]" in caught.value.hint


@given(st.lists(st.one_of(st.text(), st.sampled_from(["--weight", "--tag", "-a", "--", "-", "--help", "--json="]))))
def test_any_arguments_are_parsed_or_rejected(words):
    with contextlib.suppress(UsageError):
        args = parse("try", TRY, words)
        assert args.has("--help") or args.arg_list("PARENT")


def test_help_lists_every_option():
    text = help_text("try", TRY)
    assert all(option in text for option in ("--weight N", "--tag T", "-a, --all", "--json", "--runtime-dir DIR"))


@pytest.mark.parametrize("noun", COMMANDS)
def test_every_command_has_help(noun, capsys):
    assert main([noun, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"reed {noun}")
    for line in out.splitlines():
        if line.startswith(f"reed {noun} ") and "  " in line:
            verb = line.split()[2]
            assert main([noun, verb, "--help"]) == 0
            assert capsys.readouterr().out.startswith(f"reed {noun} {verb}")


def test_unknown_names_get_the_nearest(reed):
    for words, named in (
        (["plguin"], "did you mean 'plugin'?"),
        (["plugin", "stats"], "did you mean 'status'?"),
        (["snippet"], "create, get, update, edit, rename, delete, list"),
        (["plugin", "list", "--jsn"], "did you mean '--json'?"),
        (["plugin", "signal", "x", "wak"], "did you mean 'wake'?"),
        (["snippet", "get", "$"], "REF"),
        (["snippet", "create", "page"], "--file F"),
    ):
        ran = reed(*words)
        assert ran.code == 2, words
        assert named in ran.err
        assert ran.err.startswith("reed: ")


def test_no_command_is_a_usage_error_and_help_is_not(reed):
    assert reed().code == 2
    assert "reed plugin" in reed().err
    assert reed("--help").code == 0
    assert "reed plugin" in reed("-h").out
    assert reed("--version").out.startswith("reed ")
    assert reed("-v").out == reed("--version").out


@pytest.mark.parametrize("words", [["plugin"], ["snippet", "create"], ["status"]])
def test_help_before_a_command(words, capsys):
    assert main([*words, "--help"]) == 0
    page = capsys.readouterr().out
    assert main(["help", *words]) == 0
    assert capsys.readouterr().out == page
