"""What one plugin's process may do, derived from its type, row, manifest and reed.yaml (sandbox.md#rules).

SECURITY.md lists what is not enforced. FIFOs are granted by two folders of links, <runtime>/peers/SELF/from and to.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import NamedTuple

DNS_PORT = 53

_EVERYONE = ("/dev/null", "/dev/urandom", "/etc/localtime")
_NETWORK = (
    "/etc/resolv.conf",
    "/run/systemd/resolve",  # resolv.conf links to a file in it, which is replaced at times
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
    """Of a plugin type (reed.plugin_types)."""

    executes: bool  # programs, and forks; otherwise it stays one process
    read_paths: tuple[str, ...] = ()
    run_paths: tuple[str, ...] = ()
    network: bool = False  # may have TCP ports
    own_proc: bool = False  # reads /proc/self


class Rules(NamedTuple):
    """Paths are absolute; one that does not exist is ignored."""

    executes: bool
    read_paths: tuple[str, ...]
    run_paths: tuple[str, ...] = ()  # read and executed
    write_paths: tuple[str, ...] = ()  # nothing is created or truncated
    data_paths: tuple[str, ...] = ()  # full access to regular files
    own_socket: str | None = None  # the one Unix socket that it may connect to, unless it executes programs
    connect_tcp: tuple[int, ...] = ()  # ports
    own_proc: bool = False  # reads /proc/self
    memory: int | None = None  # bytes of RLIMIT_DATA
    open_files: int = 1024
    processes: int | None = None  # of its user in all, so 0 allows no fork; not enforced for root
    mode: str = "auto"  # strict, off


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
    """`network`: the TCP ports that its manifest requests and reed.yaml allows.
    `own_socket`: its socket, for a plugin that connects after it is confined.
    `paths`: further folders that it reads and, if it executes programs, runs programs from.
    """
    executes = profile.executes
    ports = tuple(sorted({*network})) if profile.network else ()
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
        own_proc=profile.own_proc,
        memory=memory,
        processes=None if executes else 0,
        mode=mode,
    )
