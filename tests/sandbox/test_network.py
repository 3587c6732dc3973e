"""Sockets: Unix sockets, TCP to granted ports, and for Lua only its own socket."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

_AF_VSOCK = 40  # Python has the name only if it was built with it
KINDS = pytest.mark.parametrize("plugin_type", ["lua", "native"])


@pytest.fixture
def tcp() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def own(place) -> Iterator[Path]:
    """The plugin's own socket, next to another one."""
    path = place.runtime / "plugins" / "me.sock"
    with socket.socket(socket.AF_UNIX) as mine, socket.socket(socket.AF_UNIX) as foreign:
        mine.bind(str(path))
        foreign.bind(str(place.runtime / "core.sock"))
        mine.listen()
        foreign.listen()
        yield path


def make(*kind: int) -> str:
    socket.socket(*kind).close()
    return "made"


def connect(family: int, address: object) -> str:
    with socket.socket(family) as ours:
        ours.connect(address)  # type: ignore[arg-type]
    return "connected"


@KINDS
def test_without_network_only_unix_sockets_are_allowed(place, inside, needs, tcp, plugin_type: str) -> None:
    needs(0)
    port = tcp.getsockname()[1]
    jobs = [
        lambda: connect(socket.AF_INET, ("127.0.0.1", port)),
        lambda: connect(socket.AF_INET6, ("::1", port)),
        lambda: make(socket.AF_INET, socket.SOCK_DGRAM),
        lambda: make(socket.AF_INET, socket.SOCK_RAW, 1),
        lambda: make(socket.AF_NETLINK, socket.SOCK_RAW, 0),
        lambda: make(socket.AF_PACKET, socket.SOCK_RAW, 0),
        lambda: make(_AF_VSOCK, socket.SOCK_STREAM),
        lambda: make(38, socket.SOCK_SEQPACKET),  # AF_ALG
    ]
    assert inside(place.rules(plugin_type, network=()), *jobs) == ["EPERM"] * len(jobs)


def test_network_allows_outgoing_tcp_to_the_granted_ports_only(place, inside, needs, tcp) -> None:
    needs(4)
    port = tcp.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as other:
        closed = other.getsockname()[1]

        def bind() -> str:
            with socket.socket() as ours:
                ours.bind(("127.0.0.1", 0))
            return "bound"

        def listen() -> str:
            with socket.socket() as ours:
                ours.listen()  # binds a port implicitly: Landlock does not cover it
            return "listens"

        def fast_open() -> str:
            with socket.socket() as ours:
                ours.sendto(b"x", 0x20000000, ("127.0.0.1", closed))  # connects: Landlock does not cover it
            return "connected"

        jobs = [
            lambda: connect(socket.AF_INET, ("127.0.0.1", port)),
            lambda: connect(socket.AF_INET, ("127.0.0.1", closed)),
            bind,
            listen,
            fast_open,
            lambda: make(socket.AF_INET, socket.SOCK_DGRAM),
            lambda: make(socket.AF_INET6, socket.SOCK_DGRAM),
            lambda: make(socket.AF_INET, socket.SOCK_STREAM, 262),  # MPTCP: Landlock does not cover it
            lambda: make(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP),
            lambda: make(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_CLOEXEC),
        ]
        answers = inside(place.rules("native", network=(port,)), *jobs)
    assert answers == ["connected", "EACCES", *["EPERM"] * 6, "made", "made"]


@KINDS
def test_abstract_sockets_are_denied(place, inside, needs, plugin_type: str) -> None:
    needs(6)
    name = f"\0reed-sandbox-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        own = place.runtime / "plugins" / "me.sock"
        rules = place.rules(plugin_type, own_socket=own)
        assert inside(rules, lambda: connect(socket.AF_UNIX, name)) == "EPERM"


def test_a_native_plugin_connects_to_its_socket(place, inside, needs, own) -> None:
    needs()
    assert inside(place.rules("native"), lambda: connect(socket.AF_UNIX, str(own))) == "connected"


def test_a_lua_plugin_keeps_its_connection_and_opens_no_other(place, inside, needs, own) -> None:
    needs()
    ours = socket.socket(socket.AF_UNIX)
    ours.connect(str(own))
    jobs = [
        lambda: ours.send(b"hello"),
        lambda: make(socket.AF_UNIX, socket.SOCK_STREAM),
        lambda: connect(socket.AF_UNIX, str(own)),
        lambda: str(socket.socketpair()),
    ]
    assert inside(place.rules("lua"), *jobs, keep={ours.fileno()}) == [5, "EPERM", "EPERM", "EPERM"]
    ours.close()


def test_a_lua_plugin_reconnects_to_its_own_socket_only(place, inside, needs, own) -> None:
    needs()

    def again(confinement) -> str:
        with socket.socket(socket.AF_UNIX) as ours:
            confinement.own_socket.connect(ours.fileno())
            return str(ours.getpeername())

    jobs = [
        lambda: again(inside.confinement),
        lambda: again(inside.confinement),
        lambda: connect(socket.AF_UNIX, str(place.runtime / "core.sock")),
        lambda: connect(socket.AF_UNIX, str(own)),
        lambda: make(socket.AF_UNIX, socket.SOCK_DGRAM),
        lambda: make(socket.AF_INET, socket.SOCK_STREAM),
    ]
    rules = place.rules("lua", own_socket=own)
    assert inside(rules, *jobs) == [str(own), str(own), *["EPERM"] * 4]


def test_a_confinement_of_the_zygote_is_completed_after_the_fork(place, sandbox, needs, own) -> None:
    """The ruleset comes from another process, and the socket's path is set after the fork."""
    needs()
    number = 77
    everyones = sandbox.prepare(place.rules("lua", own_socket=""), ruleset=number)
    ruleset = sandbox.ruleset(place.rules("lua"))

    def live() -> bool:
        os.dup2(ruleset, number)
        everyones.own_socket.set_path(str(own))
        everyones.apply()
        with pytest.raises(PermissionError):
            place.secret.read_text()
        (place.plugin / "main.lua").read_text()
        with socket.socket(socket.AF_UNIX) as ours:
            everyones.own_socket.connect(ours.fileno())
            with pytest.raises(PermissionError):
                connect(socket.AF_UNIX, str(own))
            return ours.getpeername() == str(own)

    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            try:
                os._exit(0 if live() else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    everyones.close()
    os.close(ruleset)


def test_the_sealed_address_cannot_be_changed(place, inside, needs, own) -> None:
    """No system call makes its page writable, replaces it or empties it."""
    needs()
    if not inside.sandbox.layers.sealed:
        pytest.skip("this kernel has no mseal")
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    page = os.sysconf("SC_PAGESIZE")

    def changed(function: str, *arguments: object) -> int:
        address = ctypes.c_void_p(inside.confinement.own_socket.address)
        if getattr(libc, function)(address, ctypes.c_size_t(page), *arguments) in (-1, 2**64 - 1):
            raise OSError(ctypes.get_errno(), function)
        return 0

    jobs = [
        lambda: changed("mprotect", 3),
        lambda: changed("munmap"),
        lambda: changed("mmap", 3, 0x32, -1, 0),  # MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS
        lambda: changed("mremap", ctypes.c_size_t(2 * page), 1),
        lambda: changed("madvise", 4),  # MADV_DONTNEED
    ]
    assert inside(place.rules("lua", own_socket=own), *jobs) == ["EPERM"] * len(jobs)
