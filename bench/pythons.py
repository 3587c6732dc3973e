"""The Pythons of this machine that reed supports, and `python -m bench pythons [PROGRAM…]`, the table's lines of each.

    PROGRAM, this Python, python3.N of PATH    the first of a version that can import what reed depends on
    a Debian release, only as root             its root folder, which contrib/pythons.sh has made, with a venv beside it

Python of another release is executed in a mount namespace of its own, with that release's /usr in place of this
machine's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.lines import table
from bench.peers import Peers
from bench.processes import pin
from bench.rows import Run, group

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
_PROBE = "import jsonschema_rs, lupa, yaml, platform; print(platform.python_version())"
_DEPENDENCIES = ("lupa>=2.8", "pyyaml>=6", "jsonschema-rs>=0.30")
_RELEASES = ("trixie", "sid")
_IN_ROOT = ["unshare", "--mount", "sh", "-euc", 'mount --bind "$0/usr" /usr; exec "$@"']  # its arguments: root, command
_SECONDS = 60.0  # for pip

Command = list[str]  # the first words of a command line: the program that takes Python's arguments


def main(words: list[str]) -> int:
    pin()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reed-bench-")))
        print(table(group("pythons")(Run(Peers(folder, stack), stack, folder, pythons=words))))
    return 0


def find(programs: Sequence[str] = ()) -> dict[str, Command]:
    """The command of each version that is here, such as {"3.11.7": ["/usr/bin/python3"]}, the oldest first; one of each
    supported minor version."""
    found: dict[str, tuple[str, Command]] = {}
    for command in _candidates(programs):
        version = _version(command)
        minor = version.rpartition(".")[0]
        if minor in SUPPORTED:
            found.setdefault(minor, (version, command))
    return {version: command for minor in SUPPORTED if minor in found for version, command in [found[minor]]}


def absent(found: dict[str, Command]) -> list[str]:
    """The supported versions that `find` has not found."""
    return [minor for minor in SUPPORTED if not any(version.startswith(f"{minor}.") for version in found)]


def _candidates(programs: Sequence[str]) -> Iterator[Command]:
    yield from ([program] for program in programs)
    yield [sys.executable]
    yield from ([path] for minor in SUPPORTED if (path := shutil.which(f"python{minor}")))
    if os.getuid() == 0:
        yield from (_debian(release) for release in _RELEASES)


def _version(command: Command) -> str:
    """Empty if reed cannot run there."""
    if not command:
        return ""
    said = subprocess.run([*command, "-c", _PROBE], capture_output=True, text=True, check=False)
    return said.stdout.strip()


def _debian(release: str) -> Command:
    """Python of a venv for the release, made the first time; nothing if its root folder or a package is missing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "/var/cache")) / "reed-tests"
    root, venv = cache / f"debian-{release}", cache / f"bench-{release}"
    if not (root / "usr/bin/python3").exists():
        return []
    inside = [*_IN_ROOT, str(root)]
    python = [*inside, str(venv / "bin/python")]
    if not _version(python):  # also after the release has got another Python
        make = [*inside, "/usr/bin/python3", "-m", "venv", "--clear", str(venv)]
        install = [*python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *_DEPENDENCIES]
        try:
            for step in (make, install):
                subprocess.run(step, check=True, timeout=_SECONDS, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            print(f"Python of Debian {release} is left out: {error.stderr.strip()[-300:]}", file=sys.stderr)
            return []
        except subprocess.TimeoutExpired:
            print(f"Python of Debian {release} is left out: its packages did not come in time", file=sys.stderr)
            return []
    return python
