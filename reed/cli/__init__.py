"""The command `reed`.

COMMANDS ── the module of a noun, imported when it is used ── its SUBCOMMANDS: syntax, help, the function to run

parse, options, output, output_file, progress                used by all
plugin/  author/  doctor/  importing/                        nouns with several modules; each `__init__` lists them
background  backup_archive  snippet_edit  snippet_list       parts of core, backup and snippet
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` takes a millisecond to import
import gc
import sys
from typing import TYPE_CHECKING

from reed.errors import CoreNotRunning, ReedError, nearest

if TYPE_CHECKING:
    from reed.cli.parse import Subcommand

DONE, FAILED, WRONG_USAGE, NOT_RUNNING, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 3, 130, 141

COMMANDS = {
    "init": ("init", "create a site: reed.yaml, plugin-registry.csv, plugins/"),
    "serve": ("core", "run the core in the foreground"),
    "start": ("core", "run the core in the background"),
    "stop": ("core", "stop the core and its plugins"),
    "restart": ("core", "restart the core with new code and settings; plugins keep running"),
    "status": ("core", "figures of the core"),
    "doctor": ("doctor", "check machine, settings, folders, store and registry"),
    "config": ("config", "the settings, and where each comes from"),
    "logs": ("logs", "the log of the core"),
    "registry": ("registry", "types: define, get, list, delete"),
    "snippet": ("snippet", "content: create, get, edit, update, rename, delete, list"),
    "schema": ("schema", "bonds between snippets: bond, unbond, tree"),
    "search": ("search", "full-text search"),
    "index": ("search", "rebuild the search index"),
    "import": ("importing", "read snippets from a file of JSON lines, or a folder of Markdown"),
    "export": ("export", "write types, snippets and bonds to a file of JSON lines"),
    "backup": ("backup", "create and restore a backup of all content"),
    "store": ("store", "PostgreSQL and SQLite: migrate, status, copy, check"),
    "plugin": (
        "plugin",
        "list, add, upgrade, remove, pack, status, start, stop, restart, send, run-schedule, signal, health, logs, "
        "explain, reload, scaffold, test, dev",
    ),
    "monitor": ("monitor", "print frames as they pass, decoded"),
    "watch": ("watch", "print changes of content as they are committed"),
    "metrics": ("metrics", "figures as OpenMetrics text, for Prometheus"),
    "top": ("top", "live view of the core and its plugins"),
    "web": ("web", "pages for a browser on this machine"),
    "completion": ("completion", "shell completion for bash, zsh and fish"),
}


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code. Errors go to stderr, with --json to stdout."""
    if sys.stdin is None or sys.stderr is None:
        _open_standard_descriptors()
    given = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in given[: given.index("--") if "--" in given else None]
    if sys.stdout is None:
        return _fail(ReedError("standard output is closed"), FAILED, as_json=False)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # the parent may ignore it, which breaks waitpid()
    gc.disable()  # collections during imports and at exit would take 7 ms
    try:
        try:
            status = _run(given)
            sys.stdout.flush()
        except BrokenPipeError:
            _discard_output()
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

        writable = _can_write_output() and not _is_of_full_output(error)
        problem = describe(error) if writable else f"standard output: {error.strerror}"
        return _fail(ReedError(problem), FAILED, as_json=as_json and writable)
    finally:
        _can_write_output()
        gc.freeze()
    return status


def _open_standard_descriptors() -> None:
    """After `2>&-` the next file that is opened would become stderr; libffi, for one, keeps a file open."""
    import os

    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def subcommands(noun: str) -> dict[str, Subcommand]:
    """By full name, such as "plugin list"."""
    module = __import__(f"reed.cli.{COMMANDS[noun][0]}", fromlist=["SUBCOMMANDS"])  # importlib costs a millisecond
    found: dict[str, Subcommand] = module.SUBCOMMANDS
    return {name: subcommand for name, subcommand in found.items() if name.partition(" ")[0] == noun}


def _run(argv: list[str]) -> int:
    from reed.cli.output import Output

    leading: list[str] = []
    noun = _next_argument(argv, leading)
    if noun == "help" and argv:  # reed help NOUN
        leading.append("--help")
        noun = _next_argument(argv, leading)
    if "--version" in leading or "-v" in leading:
        from reed import __version__

        text = f"reed {__version__}"
        Output(sys.stdout, as_json="--json" in leading + argv).show({"version": __version__}, text, [[text]])
        return DONE
    if not noun or noun == "help":
        print(_overview(), file=sys.stdout if noun or "--help" in leading else sys.stderr)
        return DONE if noun or "--help" in leading else WRONG_USAGE
    from reed.cli.parse import UsageError, help_text, parse, suggest

    if noun not in COMMANDS:
        raise UsageError(f"unknown command {noun!r}", hint=nearest(noun, COMMANDS) or "`reed --help` lists all")
    found = subcommands(noun)
    name = noun
    if name not in found:
        verb = _next_argument(argv, leading)
        name = f"{noun} {verb}"
        verbs = [each.partition(" ")[2] for each in found]
        if not verb and "--help" in leading:
            print("\n".join(f"reed {each:20} {found[each].summary}" for each in found))
            return DONE
        if name not in found:
            problem = f"unknown command {name!r}" if verb else f"{noun}: missing subcommand"
            raise UsageError(problem, hint=suggest(verb, verbs))
    subcommand = found[name]
    args = parse(name, subcommand, leading + argv)
    if args.has("--help"):
        print(help_text(name, subcommand))
        return DONE
    run = subcommand.run  # which may import its module
    gc.set_threshold(10_000)  # a command makes few cycles; an import of 1,000 lines would be searched 16 times
    gc.enable()
    return run(args, Output(sys.stdout, as_json=args.has("--json"))) or DONE


def _next_argument(argv: list[str], leading: list[str]) -> str:
    """Options before it move to `leading`."""
    while argv and argv[0].startswith("-") and argv[0] != "-":
        option = argv.pop(0)
        leading.append("--help" if option == "-h" else option)
        if option == "--runtime-dir" and argv:
            leading.append(argv.pop(0))
    return argv.pop(0) if argv else ""


def _overview() -> str:
    lines = [f"  reed {noun:10} {about}" for noun, (_, about) in COMMANDS.items()]
    last = "\n`reed COMMAND --help` prints a command's options; `reed -v` prints the version."
    return "\n".join(["reed: content and the plugins that work on it\n", *lines, last])


def _fail(error: ReedError, status: int, *, as_json: bool) -> int:
    from reed.cli.output import Output, error_as_json, print_error

    try:
        if as_json:
            try:
                Output(sys.stdout, as_json=True).json({"error": error_as_json(error)})
                sys.stdout.flush()
                return status
            except BrokenPipeError:
                raise
            except OSError:
                pass
        print_error(str(error))
    except BrokenPipeError:
        _discard_output()
    return status


def _is_of_full_output(error: OSError) -> bool:
    """Whether a write of more than the buffer holds failed: its data is gone, so that the next flush succeeds.

    A command that writes another file names it in its errors.
    """
    import errno

    return error.filename is None and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def _can_write_output() -> bool:
    """Flush the output; on a full disk discard it, or the interpreter would exit with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard_output()
        return False
    return True


def _discard_output() -> None:
    import os

    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
