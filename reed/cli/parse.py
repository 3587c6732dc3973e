"""Parser of the command line.

    Subcommand(run, "PARENT CHILD", "Put one snippet below another", (Option("--weight", "N", …), …))

    NAME one argument    [NAME] optional    NAME… one or more    [NAME…] any number

No argparse, NamedTuple or dataclass, here and in `output`: they slow down the start (command-line-parser.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from reed.errors import ReedError, nearest

if TYPE_CHECKING:
    from reed.cli.output import Output

    Run = Callable[["Args", Output], int | None]

U32 = range(1 << 32)


class UsageError(ReedError):
    """Exit code 2."""


class Option:
    """
    value     placeholder of the value; "" for a switch
    number    the range of a numeric value
    many      the option may be repeated
    replaces  a positional that the option replaces, as --all replaces NAME
    """

    __slots__ = ("help", "many", "name", "number", "replaces", "short", "value")

    def __init__(
        self,
        name: str,
        value: str = "",
        help: str = "",
        *,
        number: range | None = None,
        many: bool = False,
        short: str = "",
        replaces: str = "",
    ) -> None:
        self.name = name
        self.value = value
        self.help = help
        self.number = number
        self.many = many
        self.short = short
        self.replaces = replaces


class Subcommand:
    """`run` carries it out and returns the exit code (None: 0). It is a function, or the name of one in reed.cli, whose
    module is imported when it is used. --help prints `details` below the summary.
    """

    __slots__ = ("_run", "details", "options", "positionals", "summary")

    def __init__(
        self,
        run: Run | str,
        positionals: str,
        summary: str,
        options: Sequence[Option] = (),
        details: str = "",
    ) -> None:
        self._run = run
        self.positionals = positionals
        self.summary = summary
        self.options = options
        self.details = details

    @property
    def run(self) -> Run:
        if not isinstance(self._run, str):
            return self._run
        module, _, name = self._run.rpartition(".")
        found: Run = getattr(__import__(f"reed.cli.{module}", fromlist=[name]), name)
        return found


GLOBAL_OPTIONS = (
    Option("--json", help="print JSON, errors included"),
    Option("--runtime-dir", "DIR", "the core's runtime folder (REED_RUNTIME_DIR; /tmp/reed-cms)"),
    Option("--help", help="print this help", short="-h"),
)
CONFIG = Option("--config", "F", "the settings (REED_CONFIG; ./reed.yaml if it exists)")
REGISTRY = Option("--registry", "F", "the plugin registry (REED_REGISTRY; ./plugin-registry.csv)")
PLUGIN_DIR = Option(
    "--plugin-dir", "DIR", "folder of plugins (REED_PLUGIN_DIR; ./plugins), before the bundled ones", many=True
)
LOG = (
    Option("--follow", help="keep printing new lines", short="-f"),
    Option("--lines", "N", "print the last N lines (100; 0: none)", number=U32, short="-n"),
)


class Args:
    def __init__(self, positionals: dict[str, list[str]], options: dict[str, list[str]]) -> None:
        self._positionals = positionals
        self._options = options

    def arg(self, name: str) -> str:
        """ "" if it is optional and missing."""
        return self._positionals.get(name, [""])[0]

    def arg_list(self, name: str) -> list[str]:
        return self._positionals.get(name, [])

    def has(self, option: str) -> bool:
        return option in self._options

    def text(self, option: str) -> str | None:
        """The last value given."""
        return self._options[option][-1] if option in self._options else None

    def texts(self, option: str) -> list[str]:
        return self._options.get(option, [])

    def number(self, option: str, default: int = 0) -> int:
        return int(self._options[option][-1]) if option in self._options else default


def parse(name: str, subcommand: Subcommand, given: Sequence[str]) -> Args:
    known = known_options(subcommand)
    options: dict[str, list[str]] = {}
    positionals: list[str] = []
    rest = list(reversed(given))
    while rest:
        arg = rest.pop()
        if arg == "--":
            positionals += reversed(rest)
            break
        if arg == "-" or not arg.startswith("-"):
            positionals.append(arg)
            continue
        written, equals, value, more = split_option(arg, known)
        if more:
            rest.append(more)
        option = known.get(written)
        if option is None:
            raise _wrong(name, subcommand, f"unknown option {written}", nearest(written, sorted(known)))
        if option.value and not equals:
            value = rest.pop() if rest else ""
            if not value:
                raise _wrong(name, subcommand, f"{written} requires a value: {option.value}")
        if equals and not option.value:
            raise _wrong(name, subcommand, f"{written} takes no value")
        if option.number is not None and not (_is_number(value) and int(value) in option.number):
            expected = f"{written}: expected a whole number{_bounds(option.number)}, found {value!r}"
            raise _wrong(name, subcommand, expected)
        options.setdefault(option.name, []).append(value)
    if "--help" in options:
        return Args({}, options)
    return Args(_bind(name, subcommand, expected_positionals(subcommand, options), positionals), options)


def known_options(subcommand: Subcommand) -> dict[str, Option]:
    """By name and short name."""
    known = {option.name: option for option in (*subcommand.options, *GLOBAL_OPTIONS)}
    return known | {option.short: option for option in known.values() if option.short}


def split_option(arg: str, known: Mapping[str, Option]) -> tuple[str, str, str, str]:
    """Return (name, "=" if a value is attached, that value, the rest of a group such as `-fn3`)."""
    short = arg[:2]
    if arg.startswith("--") or len(arg) == 2 or arg[2] == "=" or short not in known:
        return *arg.partition("="), ""
    return (short, "=", arg[2:], "") if known[short].value else (short, "", "", f"-{arg[2:]}")


def expected_positionals(subcommand: Subcommand, given: Iterable[str]) -> list[str]:
    """Without those that the given options replace."""
    replaced = {option.replaces for option in subcommand.options if option.name in given}
    return [each for each in subcommand.positionals.split() if each.strip("[]…") not in replaced]


def usage(name: str, subcommand: Subcommand) -> str:
    options = "".join(f" [{_option(option)}]" + ("…" if option.many else "") for option in subcommand.options)
    return f"reed {name}{' ' + subcommand.positionals if subcommand.positionals else ''}{options}"


def help_text(name: str, subcommand: Subcommand) -> str:
    options = [*subcommand.options, *GLOBAL_OPTIONS]
    left = [f"{option.short + ', ' if option.short else ''}{_option(option)}" for option in options]
    width = max(map(len, left))
    lines = [usage(name, subcommand), "", f"{subcommand.summary}."]
    if subcommand.details:
        lines += ["", subcommand.details.strip("\n")]
    lines += ["", *(f"  {text:{width}}  {option.help}" for text, option in zip(left, options, strict=True))]
    return "\n".join(lines)


def suggest(word: str, known: Iterable[str]) -> str:
    """A hint for an unknown word."""
    return nearest(word, known) or f"one of {', '.join(known)}"


def _option(option: Option) -> str:
    return f"{option.name} {option.value}" if option.value else option.name


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()


def _bounds(numbers: range) -> str:
    return " of at least 0" if numbers == U32 else f" from {numbers[0]} to {numbers[-1]}"


def _bind(name: str, subcommand: Subcommand, expected: list[str], given: list[str]) -> dict[str, list[str]]:
    bound: dict[str, list[str]] = {}
    for each in expected:
        count = len(given) if "…" in each else 1
        taken, given = given[:count], given[count:]
        if taken:
            bound[each.strip("[]…")] = taken
        elif not each.startswith("["):
            raise _wrong(name, subcommand, f"missing argument {each.strip('[]…')}")
    if given:
        raise _wrong(name, subcommand, f"unexpected argument {given[0]!r}")
    return bound


def _wrong(name: str, subcommand: Subcommand, problem: str, hint: str = "") -> UsageError:
    line = f"usage: {usage(name, subcommand)}"
    return UsageError(f"{name}: {problem}", hint=f"{hint}\n{line}" if hint else line)
