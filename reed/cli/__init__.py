"""The command `reed` (command-line.md).

    words ── COMMANDS: which module ── its FORMS: which form ── parse ── run(args, output) ── exit code

A module of this room has the commands of one noun, and is imported when the noun was written: nobody waits for what
they did not ask for. Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no core runs, 128 + n when a Unix
signal ended it (130: Ctrl-C; 141: whoever read the output is gone).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the module `signal` takes a millisecond to import
import gc
import sys

from reed.errors import CoreNotRunning, ReedError, nearest

DONE, FAILED, WRONG_USAGE, NOT_RUNNING, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 3, 130, 141

# The first word, the module that has its commands, and what it is about.
COMMANDS = {
    "init": ("core", "a new site: reed.yaml, plugin-registry.csv, plugins/"),
    "serve": ("core", "run the core in the foreground"),
    "start": ("core", "run the core in the background"),
    "stop": ("core", "end it"),
    "restart": ("core", "run it anew, with new code and settings; its plugins go on"),
    "status": ("core", "how it does"),
    "registry": ("registry", "types: define, get, list"),
    "snippet": ("snippet", "content: create, get, update, delete, list"),
    "schema": ("schema", "bonds between snippets: bond, unbond, tree"),
    "search": ("search", "find snippets by words"),
    "index": ("search", "index one snippet or everything again"),
    "import": ("import_export", "read snippets from a file of JSON lines"),
    "export": ("import_export", "write all snippets, types and bonds to such a file"),
    "plugin": (
        "plugin",
        "list, status, start, stop, restart, send, signal, health, logs, explain, reload, scaffold, test",
    ),
    "monitor": ("monitor", "the frames as they pass, decoded"),
    "top": ("top", "the core and its plugins as they work"),
    "completion": ("completion", "complete commands in bash, zsh or fish by Tab"),
}


def main(words: list[str] | None = None) -> int:
    """Run one command; its exit code. An error goes to stderr, with what to do next; with --json to stdout, as JSON."""
    if sys.stderr is None:  # 2>&-
        sys.stderr = open("/dev/null", "w")  # noqa: SIM115
    given = list(sys.argv[1:] if words is None else words)
    as_json = "--json" in given[: given.index("--") if "--" in given else None]
    if sys.stdout is None:
        return _fail(ReedError("standard output is closed"), FAILED, as_json=False)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # a parent may have it ignored: children would vanish unwaited for
    gc.disable()  # nothing that is imported becomes garbage: looking for it, here and at the exit, takes 7 ms
    try:
        try:
            status = _run(given)
            sys.stdout.flush()
        except BrokenPipeError:
            _forget_output()
            return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except CoreNotRunning as error:
        return _fail(error, NOT_RUNNING, as_json=as_json)
    except ReedError as error:
        from reed.cli.parse import UsageError

        return _fail(error, WRONG_USAGE if isinstance(error, UsageError) else FAILED, as_json=as_json)
    except OSError as error:
        from reed.system_calls import describe

        writable = _can_write_output()
        what = describe(error) if writable else f"standard output: {error.strerror}"
        return _fail(ReedError(what), FAILED, as_json=as_json and writable)
    finally:
        _can_write_output()
        gc.freeze()
    return status


def _run(words: list[str]) -> int:
    everywhere: list[str] = []
    noun = _next_word(words, everywhere)
    if noun == "help" and words:  # reed help NOUN
        everywhere.append("--help")
        noun = _next_word(words, everywhere)
    if "--version" in everywhere or "-v" in everywhere:
        return _show_version(as_json="--json" in everywhere + words)
    if not noun or noun == "help":
        print(_overview(), file=sys.stdout if noun or "--help" in everywhere else sys.stderr)
        return DONE if noun or "--help" in everywhere else WRONG_USAGE
    from reed.cli.parse import UsageError, help_text, parse

    if noun not in COMMANDS:
        raise UsageError(f"no command {noun!r}", hint=nearest(noun, COMMANDS) or "`reed --help` shows them")
    forms = __import__(f"reed.cli.{COMMANDS[noun][0]}", fromlist=["FORMS"]).FORMS  # importlib: a millisecond more
    command = noun
    if command not in forms:
        verb = _next_word(words, everywhere)
        command = f"{noun} {verb}"
        verbs = [each.partition(" ")[2] for each in forms if each.startswith(f"{noun} ")]
        if not verb and "--help" in everywhere:
            print("\n".join(f"reed {each:20} {forms[each].summary}" for each in forms))
            return DONE
        if command not in forms:
            what = f"no command {command!r}" if verb else f"{noun}: what?"
            raise UsageError(what, hint=nearest(verb, verbs) or f"one of {', '.join(verbs)}")
    form = forms[command]
    args = parse(command, form, everywhere + words)
    if args.has("--help"):
        print(help_text(command, form))
        return DONE
    from reed.cli.output import Output

    gc.enable()
    status: int = form.run(args, Output(sys.stdout, as_json=args.has("--json")))
    return status


def _show_version(*, as_json: bool) -> int:
    from reed import __version__
    from reed.cli.output import Output

    if as_json:
        Output(sys.stdout, as_json=True).json({"version": __version__})
    else:
        print(f"reed {__version__}")
    return DONE


def _next_word(words: list[str], everywhere: list[str]) -> str:
    """Take the next word; options that stand before it, which every command has, move to `everywhere`."""
    while words and words[0].startswith("-") and words[0] != "-":
        option = words.pop(0)
        everywhere.append("--help" if option == "-h" else option)
        if option == "--runtime-dir" and words:
            everywhere.append(words.pop(0))
    return words.pop(0) if words else ""


def _overview() -> str:
    lines = [f"  reed {noun:10} {about}" for noun, (_, about) in COMMANDS.items()]
    ends = ["\n`reed COMMAND --help` tells more; `reed -v` prints the version."]
    return "\n".join(["reed: content and the plugins that work on it\n", *lines, *ends])


def _fail(error: ReedError, status: int, *, as_json: bool) -> int:
    from reed.cli.output import Output, complain, error_as_json

    try:
        if as_json:
            try:
                Output(sys.stdout, as_json=True).json({"error": error_as_json(error)})
                sys.stdout.flush()
                return status
            except BrokenPipeError:
                raise
            except OSError:  # standard output itself failed
                pass
        complain(str(error))
    except BrokenPipeError:
        _forget_output()
    return status


def _can_write_output() -> bool:
    """Flush buffered output. On a full disk, drop it: the interpreter would retry at exit and end with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        _forget_output()
        return False
    return True


def _forget_output() -> None:
    """Nobody reads it any more: let the interpreter's own last flush go nowhere, without a complaint."""
    import os

    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
