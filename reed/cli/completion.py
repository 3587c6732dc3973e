"""`reed completion bash|zsh|fish`.

On Tab the shell runs `reed completion words -- ARGUMENT… LAST`, which prints candidates and descriptions; without
candidates it offers files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from reed.cli import COMMANDS, subcommands
from reed.cli.options import connect
from reed.cli.output import Output
from reed.cli.parse import (
    GLOBAL_OPTIONS,
    Args,
    Option,
    Subcommand,
    UsageError,
    expected_positionals,
    known_options,
    split_option,
    suggest,
)
from reed.cli.plugin import SIGNALS
from reed.client import Client
from reed.errors import ReedError
from reed.text import safe

_MAX_NAMES = 1000
Candidate = tuple[str, str]  # argument, description

_SCRIPTS = {
    "bash": """\
_reed() {
    local words=("${COMP_WORDS[@]:1:COMP_CWORD}") IFS=$'\\n'
    COMPREPLY=($(reed completion words -- "${words[@]}" 2>/dev/null | cut -f1))
}
complete -o default -F _reed reed
""",
    "zsh": """\
#compdef reed
_reed() {
    local line
    local -a found
    for line in "${(@f)$(reed completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        [[ -n $line ]] && found+=("${line%%$'\\t'*}")
    done
    if (( $#found )); then compadd -a found; else _files; fi
}
compdef _reed reed
""",
    "fish": """\
function __reed_candidates
    set -l words (commandline -opc)[2..-1]
    set -l last (commandline -ct)
    set -l found (reed completion words -- $words "$last" 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\\n' $found
    else
        __fish_complete_path "$last"
    end
end
complete -c reed -f -a '(__reed_candidates)'
""",
}


def completion(args: Args, output: Output) -> None:
    shell = args.arg("SHELL")
    if shell == "words":
        *before, last = args.arg_list("WORD") or [""]
        found = [(word, about) for word, about in candidates(before, last) if word.startswith(last)]
        if output.as_json:
            output.json([{"word": word, "about": about} for word, about in found])
        else:
            output.stream.writelines(f"{safe(word)}\t{safe(about)}\n" for word, about in found)
    elif shell not in _SCRIPTS:
        raise UsageError(f"unknown shell {shell!r}", hint=suggest(shell, _SCRIPTS))
    elif output.as_json:
        output.json({"shell": shell, "script": _SCRIPTS[shell]})
    else:
        output.stream.write(_SCRIPTS[shell])


def candidates(before: list[str], last: str) -> Iterable[Candidate]:
    """`last` is the unfinished argument."""
    if not before:
        return [(noun, about) for noun, (_, about) in COMMANDS.items()]
    noun, *rest = before
    if noun not in COMMANDS:
        return ()
    found = subcommands(noun)
    if noun in found:
        return _of_subcommand(found[noun], noun, rest, last)
    if not rest:
        return [(name.partition(" ")[2], subcommand.summary) for name, subcommand in found.items()]
    verb, *rest = rest
    subcommand = found.get(f"{noun} {verb}")
    return _of_subcommand(subcommand, noun, rest, last) if subcommand else ()


def _of_subcommand(subcommand: Subcommand, noun: str, rest: list[str], last: str) -> Iterable[Candidate]:
    if last.startswith("-") and last != "-":
        return [(option.name, option.help) for option in (*subcommand.options, *GLOBAL_OPTIONS)]
    given, pending, values = _split(subcommand, rest)
    args = Args({}, values)
    if pending is not None:
        return _values(pending.value, args, given, last)
    expected = expected_positionals(subcommand, rest)
    if not expected or (len(given) >= len(expected) and "…" not in expected[-1]):
        return ()
    positional = expected[min(len(given), len(expected) - 1)].strip("[]…")
    kind = f"{noun} {positional}" if positional == "NAME" else positional
    return _values(kind, args, given, last)


def _split(subcommand: Subcommand, rest: list[str]) -> tuple[list[str], Option | None, dict[str, list[str]]]:
    """Return (positionals, the option whose value comes next, values of the other options)."""
    known = known_options(subcommand)
    positionals: list[str] = []
    values: dict[str, list[str]] = {}
    pending: Option | None = None
    for arg in rest:
        if pending is not None:
            values.setdefault(pending.name, []).append(arg)
            pending = None
        elif arg == "-" or not arg.startswith("-"):
            positionals.append(arg)
        else:
            more = arg
            while more:
                name, equals, value, more = split_option(more, known)
                option = known.get(name)
                pending = option if option and option.value and not equals else None
                if option and option.value and equals:
                    values.setdefault(option.name, []).append(value)
    return positionals, pending, values


def _values(kind: str, args: Args, given: list[str], last: str) -> list[Candidate]:
    """Candidates for a positional or the value of an option, by its placeholder."""
    if kind in _WORDS:
        return [(word, "") for word in _WORDS[kind]]
    if kind == "SIGNAL":
        return [(name, signal.name) for name, signal in SIGNALS.items()]
    if kind == "LANGUAGE":
        from reed.plugin_types import LANGUAGES

        return [(language, "") for language in LANGUAGES]
    if kind == "PLUGIN":
        from reed.plugin_packages.source import bundled

        return [(folder.name, "bundled") for folder in bundled()]
    if kind not in _FROM_CORE:
        return []
    try:
        with connect(args, timeout=1.0) as core:
            return _FROM_CORE[kind](core, given, last)
    except (ReedError, OSError):
        return []


def _plugins(core: Client, _given: list[str], _last: str) -> list[Candidate]:
    return [(plugin["name"], plugin["description"]) for plugin in core.plugin_list()]


def _actions(core: Client, given: list[str], _last: str) -> list[Candidate]:
    found = [plugin["actions"] for plugin in core.plugin_list() if plugin["name"] in given or not given]
    return [(name, action.get("description") or "") for actions in found for name, action in actions.items()]


def _names(core: Client, _given: list[str], last: str) -> list[Candidate]:
    return [(name, "") for name in core.snippet_names(last, _MAX_NAMES)]


def _inputs(core: Client, given: list[str], last: str) -> list[Candidate]:
    """`given` is the plugin and the action, or with --all the action."""
    *named, action = given
    for plugin in core.plugin_list():
        if (plugin["name"] in named or not named) and plugin["actions"].get(action, {}).get("input") == "snippet":
            return _names(core, given, last)
    return []


def _types(core: Client, _given: list[str], _last: str) -> list[Candidate]:
    return [(definition.type_name, "") for definition in core.registry_list()]


_WORDS = {
    "LEVEL": ("debug", "info", "warning", "error"),
    "MODE": ("auto", "strict", "off"),
    "SHELL": tuple(_SCRIPTS),
}
_FROM_CORE: dict[str, Callable[[Client, list[str], str], list[Candidate]]] = {
    "plugin NAME": _plugins,
    "monitor NAME": _plugins,
    "ACTION": _actions,
    "INPUT": _inputs,
    "REF": _names,
    "PARENT": _names,
    "CHILD": _names,
    "TYPE": _types,
    "T": _types,
    "registry NAME": _types,
}

SUBCOMMANDS = {
    "completion": Subcommand(
        completion,
        "SHELL [WORD…]",
        "Print the script that completes commands, plugins, actions, types and names in bash, zsh or fish",
        details="""
  eval "$(reed completion bash)"                                     # in ~/.bashrc
  eval "$(reed completion zsh)"                                      # in ~/.zshrc, after compinit
  reed completion fish > ~/.config/fish/completions/reed.fish""",
    ),
}
