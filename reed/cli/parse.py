"""Reading a command's words: what a Form allows, and what a person wrote.

    Form(run, "PARENT CHILD", "Put one snippet below another", (Option("--weight", "N"), …))

    words     NAME one word · [NAME] may be missing · NAME… one or more, the rest · [NAME…] any number, the rest
    options   anywhere after the command, `--name value` or `--name=value`; a short one as `-n 3`, `-n3` or, after
              switches, `-fn3`; `--` ends them; `-` is a word; one may stand instead of a word, as --all does for NAME

argparse would do it too, but takes a third of the time that a whole command may take; a NamedTuple or dataclass takes
up to a millisecond to be made, so there are none here and in `output`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from reed.errors import ReedError, nearest

if TYPE_CHECKING:
    from reed.cli.output import Output


class UsageError(ReedError):
    """A command that was written wrongly."""


COUNT = range(1 << 32)  # the numbers of a u32


class Option:
    """`value` is what its value is called in the help; empty: it is a switch. `many`: it may be given several times.

    `number`: it is a whole one, within this range. `instead`: the word of the form that it stands for, which is then
    not written.
    """

    __slots__ = ("help", "instead", "many", "name", "number", "short", "value")

    def __init__(
        self,
        name: str,
        value: str = "",
        help: str = "",
        *,
        number: range | None = None,
        many: bool = False,
        short: str = "",
        instead: str = "",
    ) -> None:
        self.name = name
        self.value = value
        self.help = help
        self.number = number
        self.many = many
        self.short = short
        self.instead = instead


class Form:
    """A command as it may be written. `details` is for --help: what it takes and prints, an example."""

    __slots__ = ("details", "options", "run", "summary", "words")

    def __init__(
        self,
        run: Callable[[Args, Output], int],
        words: str,
        summary: str,
        options: Sequence[Option] = (),
        details: str = "",
    ) -> None:
        self.run = run
        self.words = words
        self.summary = summary
        self.options = options
        self.details = details


EVERYWHERE = (
    Option("--json", help="print JSON, for programs; errors too"),
    Option("--runtime-dir", "DIR", "the runtime folder of the core (REED_RUNTIME_DIR; /tmp/reed-cms)"),
    Option("--help", help="show this", short="-h"),
)


class Args:
    """What was written: words by the name that they have in the form, options by theirs."""

    def __init__(self, words: dict[str, list[str]], options: dict[str, list[str]]) -> None:
        self._words = words
        self._options = options

    def word(self, name: str) -> str:
        """The word, or "" when it may be missing and is."""
        return self._words.get(name, [""])[0]

    def words(self, name: str) -> list[str]:
        return self._words.get(name, [])

    def has(self, option: str) -> bool:
        return option in self._options

    def text(self, option: str) -> str | None:
        """The value of an option, the last one counts; None when it was not given."""
        return self._options[option][-1] if option in self._options else None

    def texts(self, option: str) -> list[str]:
        return self._options.get(option, [])

    def number(self, option: str, default: int = 0) -> int:
        return int(self._options[option][-1]) if option in self._options else default


def parse(command: str, form: Form, given: Sequence[str]) -> Args:
    """Read the words that follow a command; UsageError says what is wrong and how it is written."""
    known = known_options(form)
    options: dict[str, list[str]] = {}
    words: list[str] = []
    rest = list(reversed(given))
    while rest:
        word = rest.pop()
        if word == "--":
            words += reversed(rest)
            break
        if word == "-" or not word.startswith("-"):
            words.append(word)
            continue
        name, equals, value, more = split_option(word, known)
        if more:
            rest.append(more)
        option = known.get(name)
        if option is None:
            raise _wrong(command, form, f"no option {name}", nearest(name, known))
        if option.value and not equals:
            value = rest.pop() if rest else ""
            if not value:
                raise _wrong(command, form, f"{name} needs a value: {option.value}")
        if equals and not option.value:
            raise _wrong(command, form, f"{name} takes no value")
        if option.number is not None and not (_is_number(value) and int(value) in option.number):
            raise _wrong(command, form, f"{name}: expected a whole number{_bounds(option.number)}, found {value!r}")
        options.setdefault(option.name, []).append(value)
    if "--help" in options:
        return Args({}, options)
    return Args(_named(command, form, slots(form, options), words), options)


def known_options(form: Form) -> dict[str, Option]:
    """The options of a command by what may be written for them: `--lines`, and `-n`."""
    known = {option.name: option for option in (*form.options, *EVERYWHERE)}
    return known | {option.short: option for option in known.values() if option.short}


def split_option(word: str, known: Mapping[str, Option]) -> tuple[str, str, str, str]:
    """An option's name, "=" if it has a value in the same word, that value, and the options that are left of `-fn3`."""
    short = word[:2]
    if word.startswith("--") or len(word) == 2 or word[2] == "=" or short not in known:
        return *word.partition("="), ""
    return (short, "=", word[2:], "") if known[short].value else (short, "", "", f"-{word[2:]}")


def slots(form: Form, given: Iterable[str]) -> list[str]:
    """The form's words that are to be written beside these options."""
    left_out = {option.instead for option in form.options if option.name in given}
    return [slot for slot in form.words.split() if slot.strip("[]…") not in left_out]


def usage(command: str, form: Form) -> str:
    """One line: how the command is written."""
    options = "".join(f" [{_option(option)}]" + ("…" if option.many else "") for option in form.options)
    return f"reed {command}{' ' + form.words if form.words else ''}{options}"


def help_text(command: str, form: Form) -> str:
    options = [*form.options, *EVERYWHERE]
    left = [f"{option.short + ', ' if option.short else ''}{_option(option)}" for option in options]
    width = max(map(len, left))
    lines = [usage(command, form), "", f"{form.summary}."]
    if form.details:
        lines += ["", form.details.strip("\n")]
    lines += ["", *(f"  {text:{width}}  {option.help}" for text, option in zip(left, options, strict=True))]
    return "\n".join(lines)


def _option(option: Option) -> str:
    return f"{option.name} {option.value}" if option.value else option.name


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()


def _bounds(numbers: range) -> str:
    return " from 0 on" if numbers == COUNT else f" from {numbers[0]} to {numbers[-1]}"


def _named(command: str, form: Form, slots: list[str], words: list[str]) -> dict[str, list[str]]:
    """The words by their names in the form."""
    named: dict[str, list[str]] = {}
    rest = list(words)
    for slot in slots:
        name = slot.strip("[]…")
        if "…" in slot:
            taken, rest = rest, []
        else:
            taken, rest = rest[:1], rest[1:]
        if taken:
            named[name] = taken
        elif not slot.startswith("["):
            raise _wrong(command, form, f"{name} is missing")
    if rest:
        raise _wrong(command, form, f"one word too many: {rest[0]!r}")
    return named


def _wrong(command: str, form: Form, what: str, hint: str = "") -> UsageError:
    line = f"write: {usage(command, form)}"
    return UsageError(f"{command}: {what}", hint=f"{hint}\n{line}" if hint else f"\n{line}".lstrip("\n"))
