"""What one plugin's process may do, derived from its type, row, manifest and reed.yaml (sandbox.md#rules).

FIFOs: Landlock grants existing files and folders, not names, and all FIFOs are in one folder. So each FIFO has hard
links <runtime>/peers/SELF/to/OTHER and .../from/OTHER, and a plugin is granted its two folders with all future entries.

Not enforced, on any kernel up to Landlock ABI 8: a plugin that executes programs may connect to every Unix socket that
its user may write to (the core recognises it there; other daemons of that user do not), may fill its data folder, and
may start as many processes as its user. Every plugin may stat any file.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import NamedTuple

DNS_PORT = 53

_EVERYONE = ("/dev/null", "/dev/urandom", "/etc/localtime")
_NETWORK = (
    "/etc/resolv.conf",
    "/run/systemd/resolve",  # resolv.conf links into it, to a file that is replaced at times
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl/certs",  # not /etc/ssl, which contains private keys
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates",
)


class Profile(NamedTuple):
    """What a plugin type may do (reed.plugin_types)."""

    executes: bool  # it executes programs, forks, and may have the network; otherwise it stays one process
    read_paths: tuple[str, ...] = ()
    run_paths: tuple[str, ...] = ()  # read and executed


class Rules(NamedTuple):
    """Paths are absolute; one that does not exist is ignored. A plugin that executes programs also reads /proc/self."""

    executes: bool
    read_paths: tuple[str, ...]  # files, FIFOs, folders with everything below
    run_paths: tuple[str, ...] = ()  # also executed
    write_paths: tuple[str, ...] = ()  # existing files and FIFOs: nothing is created or truncated
    data_paths: tuple[str, ...] = ()  # folders with full access to regular files
    own_socket: str | None = None  # the one Unix socket that it may connect to, unless it executes programs
    connect_tcp: tuple[int, ...] = ()  # ports
    memory: int | None = None  # bytes of RLIMIT_DATA
    open_files: int = 1024
    processes: int | None = None  # of its user in all, so 0 allows no fork; not enforced for root
    mode: str = "auto"  # strict: a missing layer is an error; off: only mark, limits, no_new_privs


def rules_for(
    profile: Profile,
    folder: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None,
    runtime_dir: str | os.PathLike[str],
    name: str,
    permissions: Collection[str],
    network: Iterable[int] = (),
    *,
    own_socket: str | os.PathLike[str] | None = None,
    paths: Iterable[str] = (),
    memory: int | None = None,
    mode: str = "auto",
) -> Rules:
    """The rules of the plugin `name`. Reads no files.

    `network`: the TCP ports that its manifest requests and reed.yaml allows.
    `own_socket`: its socket, for a plugin that connects after it is confined.
    `paths`: further folders that reed.yaml lets it read and, if it executes programs, run programs from.
    """
    executes = profile.executes
    ports = tuple(sorted({*network})) if executes else ()
    own, links = (os.fspath(folder), *paths), os.path.join(runtime_dir, "peers", name)
    read_paths = (*_EVERYONE, *profile.read_paths, *(_NETWORK if ports else ()), os.path.join(links, "from"))
    return Rules(
        executes=executes,
        read_paths=read_paths if executes else (*own, *read_paths),
        run_paths=(*own, *profile.run_paths) if executes else (),
        write_paths=("/dev/null", os.path.join(links, "to")),
        data_paths=(os.fspath(data_dir),) if data_dir is not None and "file_write" in permissions else (),
        own_socket=os.fspath(own_socket) if own_socket is not None and not executes else None,
        connect_tcp=tuple(sorted({*ports, DNS_PORT})) if ports else (),
        memory=memory,
        processes=None if executes else 0,
        mode=mode,
    )
