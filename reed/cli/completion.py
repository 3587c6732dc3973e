"""`reed completion bash|zsh|fish`: what the shell offers after Tab.

    shell ── Tab ── reed completion words -- WORD… LAST ── "candidate ⇥ what it is", a line each ── shell

The shells' scripts know nothing of the commands: the forms that `parse` reads say what may follow, and the core (when
it runs) which plugins, actions, types and names of snippets there are. No candidates: the shell offers files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from reed.cli import COMMANDS
from reed.cli.options import connect
from reed.cli.output import Output
from reed.cli.parse import EVERYWHERE, Args, Form, Option, UsageError, known_options, slots, split_option
from reed.cli.plugin import SIGNALS
from reed.client import Client
from reed.errors import ReedError, nearest
from reed.plugin_types import LANGUAGES
from reed.text import safe

_MAX_NAMES = 1000
Candidate = tuple[str, str]  # what may be written, and what it is

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


def completion(args: Args, output: Output) -> int:
    shell = args.word("SHELL")
    if shell == "words":
        *before, last = args.words("WORD") or [""]
        found = _starting(last, candidates(before, last))
        if output.as_json:
            output.json([{"word": word, "about": about} for word, about in found])
        else:
            output.stream.writelines(f"{safe(word)}\t{safe(about)}\n" for word, about in found)
    elif shell not in _SCRIPTS:
        raise UsageError(f"no shell {shell!r}", hint=nearest(shell, _SCRIPTS) or f"one of {', '.join(_SCRIPTS)}")
    elif output.as_json:
        output.json({"shell": shell, "script": _SCRIPTS[shell]})
    else:
        output.stream.write(_SCRIPTS[shell])
    return 0


def candidates(before: list[str], last: str) -> Iterable[Candidate]:
    """What may follow the words `before`; `last` is the word that is being written."""
    if not before:
        return [(noun, about) for noun, (_, about) in COMMANDS.items()]
    noun, *rest = before
    if noun not in COMMANDS:
        return ()
    forms: dict[str, Form] = __import__(f"reed.cli.{COMMANDS[noun][0]}", fromlist=["FORMS"]).FORMS
    if noun in forms:
        return _of_form(forms[noun], noun, rest, last)
    if not rest:
        return [(name.partition(" ")[2], form.summary) for name, form in forms.items() if name.startswith(f"{noun} ")]
    verb, *rest = rest
    form = forms.get(f"{noun} {verb}")
    return _of_form(form, noun, rest, last) if form else ()


def _of_form(form: Form, noun: str, rest: list[str], last: str) -> Iterable[Candidate]:
    """Its options after a dash, the value of an option, or its next word."""
    options = (*form.options, *EVERYWHERE)
    if last.startswith("-") and last != "-":
        return [(option.name, option.help) for option in options]
    taken, awaited, values = _split(form, rest)
    args = Args({}, values)
    if awaited is not None:
        return _VALUES[awaited.value](args, taken, last) if awaited.value in _VALUES else ()
    free = slots(form, rest)
    if not free or (len(taken) >= len(free) and "…" not in free[-1]):
        return ()
    slot = free[min(len(taken), len(free) - 1)].strip("[]…")
    kind = f"{noun} {slot}" if slot == "NAME" else slot
    return _VALUES[kind](args, taken, last) if kind in _VALUES else ()


def _split(form: Form, rest: list[str]) -> tuple[list[str], Option | None, dict[str, list[str]]]:
    """The words among `rest`, the option whose value comes next, and the options that have theirs."""
    known = known_options(form)
    words: list[str] = []
    values: dict[str, list[str]] = {}
    awaited: Option | None = None
    for word in rest:
        if awaited is not None:
            values.setdefault(awaited.name, []).append(word)
            awaited = None
        elif word == "-" or not word.startswith("-"):
            words.append(word)
        else:
            more = word
            while more:
                name, equals, value, more = split_option(more, known)
                option = known.get(name)
                awaited = option if option and option.value and not equals else None
                if option and option.value and equals:
                    values.setdefault(option.name, []).append(value)
    return words, awaited, values


def _starting(last: str, found: Iterable[Candidate]) -> Iterable[Candidate]:
    return [(word, about) for word, about in found if word.startswith(last)]


Ask = Callable[[Client, list[str], str], list[Candidate]]
Values = Callable[[Args, list[str], str], list[Candidate]]


def _asked(ask: Ask) -> Values:
    """Candidates that the core knows: none when it does not run, or does not tell."""

    def candidates_of_core(args: Args, taken: list[str], last: str) -> list[Candidate]:
        try:
            with connect(args, timeout=1.0) as core:
                return ask(core, taken, last)
        except (ReedError, OSError):
            return []

    return candidates_of_core


def _fixed(*words: str) -> Values:
    return lambda _args, _taken, _last: [(word, "") for word in words]


def _plugins(core: Client, _taken: list[str], _last: str) -> list[Candidate]:
    return [(plugin["name"], plugin["description"]) for plugin in core.plugin_list()]


def _actions(core: Client, taken: list[str], _last: str) -> list[Candidate]:
    """Those of the plugin that was named, or of all."""
    found = [plugin["actions"] for plugin in core.plugin_list() if plugin["name"] in taken or not taken]
    return [(name, action.get("description") or "") for actions in found for name, action in actions.items()]


def _names(core: Client, _taken: list[str], last: str) -> list[Candidate]:
    """Names of snippets."""
    return [(name, "") for name in core.snippet_names(last, _MAX_NAMES)]


def _inputs(core: Client, taken: list[str], last: str) -> list[Candidate]:
    """Names of snippets, if the action takes one; `taken` is the plugin and the action, or with --all the action."""
    *named, action = taken
    for plugin in core.plugin_list():
        if (plugin["name"] in named or not named) and plugin["actions"].get(action, {}).get("input") == "snippet":
            return _names(core, taken, last)
    return []


def _types(core: Client, _taken: list[str], _last: str) -> list[Candidate]:
    return [(definition.type_name, "") for definition in core.registry_list()]


# What a word or the value of an option may be, by what a form calls it.
_VALUES: dict[str, Values] = {
    "plugin NAME": _asked(_plugins),
    "monitor NAME": _asked(_plugins),
    "ACTION": _asked(_actions),
    "INPUT": _asked(_inputs),
    "REF": _asked(_names),
    "PARENT": _asked(_names),
    "CHILD": _asked(_names),
    "TYPE": _asked(_types),
    "T": _asked(_types),
    "registry NAME": _asked(_types),
    "SIGNAL": lambda _args, _taken, _last: [(name, kind.name) for name, kind in SIGNALS.items()],
    "LEVEL": _fixed("debug", "info", "warning", "error"),
    "MODE": _fixed("auto", "strict", "off"),
    "SHELL": _fixed(*_SCRIPTS),
    "LANGUAGE": _fixed(*LANGUAGES),
}

FORMS = {
    "completion": Form(
        completion,
        "SHELL [WORD…]",
        "Print what has Tab complete commands, plugins, actions, types and names in bash, zsh or fish",
        details="""
  eval "$(reed completion bash)"                                     # in ~/.bashrc
  eval "$(reed completion zsh)"                                      # in ~/.zshrc, after compinit
  reed completion fish > ~/.config/fish/completions/reed.fish""",
    ),
}
