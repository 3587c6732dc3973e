"""PostgreSQL's programs, for servers of the tests' own (`cluster`): where they are, and as whom they run.

Where the tests run as root the server runs as `postgres`, or `nobody`, since initdb refuses root. initdb takes seconds
and a copy does not, so a run of the tests makes one template. It removes that at its end, and first those of runs that
were killed.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import importlib.util
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any

SUPERUSER = "postgres"
_TEMPLATE = "reed-pg-template-"
_OWNER = "owner"  # a file in a template's folder, which its run keeps locked
_templates: list[tuple[Path, IO[bytes]]] = []  # of this run, once it is made; its locked file

REAPER = """
cat >/dev/null
for file in "$1"/*/postmaster.pid; do
    pid=$(head -n 1 "$file" 2>/dev/null) || continue
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = postgres ] || continue
    for each in $(cat "/proc/$pid/task/$pid/children") "$pid"; do kill -CONT "$each"; done
    kill -QUIT "$pid"
    while [ -d "/proc/$pid" ]; do sleep 0.1; done
done
rm -rf "$1"
"""

CONFIGURATION = """
max_connections = 100
shared_buffers = 32MB
dynamic_shared_memory_type = mmap
max_wal_size = 512MB
fsync = {fsync}
full_page_writes = {fsync}
log_line_prefix = '%m [%p] %a %e '
log_min_messages = warning
autovacuum_naptime = 5s
wal_level = replica
max_wal_senders = 4
hot_standby = on
listen_addresses = '127.0.0.1'
"""


def binaries() -> Path | None:
    """The folder of initdb and postgres, of the newest version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(re.sub(r"\D", "", path.parent.name)))
    in_path = shutil.which("initdb")
    folders = [*reversed(found), *([Path(in_path).resolve().parent] if in_path else [])]
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


def missing() -> str:
    """Why no cluster can be made here."""
    if binaries() is None:
        return "PostgreSQL is not here (Debian: apt-get install postgresql)"
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not here (pip install 'psycopg[binary]')"
    return ""


def server_user() -> pwd.struct_passwd | None:
    """As whom the server runs; None: as the tests do."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")


def runs(pid: int) -> bool:
    """False for a zombie too: the process has ended, and its new parent has not reaped it yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def folder_for(user: pwd.struct_passwd | None, prefix: str = "reed-pg-") -> Path:
    """A temporary folder that belongs to the server and that it can reach; a socket's path in it is short."""
    parent = Path(tempfile.gettempdir())
    is_open = all(path.stat().st_mode & 0o001 for path in (parent, *parent.parents))
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent if is_open and len(str(parent)) < 50 else "/tmp"))
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    folder.chmod(0o711)
    return folder


def program(name: str) -> Path:
    folder = binaries()
    assert folder is not None
    return folder / name


def identity() -> dict[str, Any]:
    """Arguments of Popen: as whom a program of the server runs."""
    user = server_user()
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def run(name: str, *words: str, folder: Path) -> None:
    done = subprocess.run(
        [program(name), *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"LC_ALL": "C.UTF-8", "TZ": "UTC"},
        **identity(),
    )
    assert done.returncode == 0, f"{name}: {done.stderr}"


def template() -> Path:
    """A data folder as initdb makes it, to be copied."""
    if not _templates:
        remove_stale_templates()
        folder = folder_for(server_user(), _TEMPLATE)
        owner = (folder / _OWNER).open("wb")
        fcntl.flock(owner, fcntl.LOCK_EX)
        _templates.append((folder, owner))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        options = ("--username", SUPERUSER, "--auth", "trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
        run("initdb", "--pgdata", str(folder / "data"), *options, folder=folder)
    return _templates[0][0] / "data"


def remove_stale_templates() -> None:
    """Of runs that were killed: nobody holds their lock any more. One without the file is just being made."""
    for parent in {Path(tempfile.gettempdir()), Path("/tmp")}:  # as `folder_for` chooses
        for folder in parent.glob(f"{_TEMPLATE}*"):
            with contextlib.suppress(OSError), (folder / _OWNER).open("rb") as owner:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
