"""What one plugin's process may do, derived from its row and manifest alone (sandbox.md#rules).

                             native                              Lua
    read                     its folder, the clock's zone, random bytes
                             the system's libraries, /proc/self  Python's library and ours, for late imports
    run                      its folder, the system's programs   nothing
    change                   its data folder, with file_write
    write, read              FIFOs self→*, *→self
    TCP                      the ports that manifest and reed.yaml agree on, outwards; DNS then goes by TCP
    Unix sockets             any that lets it in, by its path    its own, if the core has to be reached again
    processes, Unix signals  its own children                    itself

FIFOs. Landlock grants files and folders, not names, and all FIFOs lie in one folder. So a plugin reaches its own by a
second name: the core links each into <runtime>/peers/SELF/to/OTHER and .../from/OTHER (hard links: the same pipe), and
these two folders are granted whole, with what comes into them later.

Not held, on any kernel up to Landlock 8: a native plugin may connect to every Unix socket that its user may write to.
The core knows each peer by its process and gives a plugin its own permissions or nothing; other daemons of that user
do not: run the core as a user of its own. Names, sizes and times of files can be asked for everywhere (stat). A
native plugin may fill its data folder, and may start as many processes as its user may.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import NamedTuple

DNS_PORT = 53

_EVERYONE = ("/dev/null", "/dev/urandom", "/etc/localtime")
_NETWORK = (
    "/etc/resolv.conf",
    "/run/systemd/resolve",  # where resolv.conf leads; the file there is replaced now and then
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl/certs",  # not /etc/ssl: there are private keys in it
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates",
)


class Profile(NamedTuple):
    """What every plugin of a type may do (reed.plugin_types)."""

    executes: bool  # it executes programs, forks, and may have the network; otherwise it stays one process
    read_paths: tuple[str, ...] = ()
    run_paths: tuple[str, ...] = ()  # read and executed


class Rules(NamedTuple):
    """Paths are absolute; one that does not exist is ignored. A plugin that executes programs also reads /proc/self."""

    executes: bool
    read_paths: tuple[str, ...]  # files, FIFOs, folders with all that is in them
    run_paths: tuple[str, ...] = ()  # the same, and they may be executed
    write_paths: tuple[str, ...] = ()  # what exists there may be written to; nothing is made or truncated
    data_paths: tuple[str, ...] = ()  # folders to read and change; no links, devices, sockets or FIFOs in them
    own_socket: str | None = None  # where it does not execute: the one Unix socket that it may connect to; None: none
    connect_tcp: tuple[int, ...] = ()  # ports
    memory: int | None = None  # bytes of RLIMIT_DATA: all that it has for itself to write to, not what it reads
    open_files: int = 1024
    processes: int | None = None  # of its user in all, so 0 means no further; does not bind root
    mode: str = "auto"  # strict: a missing layer is an error; off: limits and no_new_privs alone


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
    """The rules of the plugin `name`, "native" or "lua". Pure: looks at no file.

    `network`: the TCP ports that its manifest asks for and an admin allowed.
    `own_socket`: its socket, for a Lua plugin that connects once it is confined, or again after the core's death.
    `paths`: further folders that an admin lets it read, and a native plugin run programs from.
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
