"""The filter's program in a BPF interpreter: both architectures, every number, every test of arguments."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import struct
from pathlib import Path

import pytest

from reed.sandbox import denied
from reed.sandbox.filter import ALLOW, ENOSYS, EPERM, KILL, Kind, SeccompFilter, program
from reed.sandbox.kernel import SandboxError

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
KINDS = [Kind(True), Kind(True, network=True), Kind(False), Kind(False, own_socket=True)]
PID, ADDRESS, LENGTH = os.getpid(), 0x7F12_3456_7000, 110


def verdict(code: bytes, architecture: int, number: int, *arguments: int) -> int:
    """Runs a BPF program over a struct seccomp_data."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *arguments, *(0,) * (6 - len(arguments)))
    instructions = list(struct.iter_unpack("=HBBI", code))
    at = accumulator = 0
    while True:
        what, if_true, if_false, k = instructions[at]
        at += 1
        match what:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, k)[0]
            case 0x54:
                accumulator &= k
            case 0x05:
                at += k
            case 0x15:
                at += if_true if accumulator == k else if_false
            case 0x35:
                at += if_true if accumulator >= k else if_false
            case 0x06:
                return k
            case _:
                raise AssertionError(f"instruction {what:#x} is not one of ours")


def filled(machine: str, kind: Kind) -> bytes:
    code = SeccompFilter(program(machine, kind), ADDRESS)
    code.fill()
    return bytes(code)


class Machine:
    def __init__(self, name: str, kind: Kind) -> None:
        self.name, self.code = name, filled(name, kind)

    def __call__(self, call: str, *arguments: int) -> int:
        for group in (denied.TESTED, denied.UNKNOWN, denied.KILLED, denied.REFUSED_WITHOUT_EXEC, *denied.REFUSED):
            if call in group:
                number = group[call][denied.MACHINES[self.name]]
                assert number is not None
                return verdict(self.code, ARCHITECTURES[self.name], number, *arguments)
        raise AssertionError(call)


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("kind", KINDS)
def test_each_number_gets_its_verdict(machine: str, kind: Kind) -> None:
    at = denied.MACHINES[machine]
    expected = dict.fromkeys(range(denied.LAST + 1), ALLOW)
    groups = [(denied.KILLED, KILL), (denied.UNKNOWN, ENOSYS), *[(group, EPERM) for group in denied.REFUSED]]
    if not kind.executes:
        groups.append((denied.REFUSED_WITHOUT_EXEC, EPERM))
    for group, answer in groups:
        expected |= {numbers[at]: answer for numbers in group.values() if numbers[at] is not None}
    tested = {numbers[at] for numbers in denied.TESTED.values()}
    code = filled(machine, kind)
    for number in set(range(600)) - tested | {0x40000000, 0x40000027, 0x7FFFFFFF, 0xFFFFFFFF}:
        assert verdict(code, ARCHITECTURES[machine], number) == expected.get(number, ENOSYS), number


def test_another_architecture_is_killed(machine: str) -> None:
    for other in (0x40000003, 0x40000028, *(set(ARCHITECTURES.values()) - {ARCHITECTURES[machine]})):
        assert verdict(filled(machine, Kind(True)), other, 39) == KILL


@pytest.mark.parametrize("kind", KINDS)
def test_the_program_is_small_and_has_no_placeholders_left(machine: str, kind: Kind) -> None:
    code = filled(machine, kind)
    assert len(code) // 8 < 4096, "the kernel's limit"
    constants = {k for *_, k in struct.iter_unpack("=HBBI", code)}
    assert not constants & {0xF11E0001, 0xF11E0002, 0xF11E0003}


def test_sockets(machine: str) -> None:
    stream, dgram, flags = 1, 2, 0o2004000
    native, network = Machine(machine, Kind(True)), Machine(machine, Kind(True, network=True))
    lua, back = Machine(machine, Kind(False)), Machine(machine, Kind(False, own_socket=True))
    for each, unix, inet in (
        (native, ALLOW, EPERM),
        (network, ALLOW, ALLOW),
        (lua, EPERM, EPERM),
        (back, ALLOW, EPERM),
    ):
        assert each("socket", 1, stream | flags, 0) == unix
        assert each("socket", 2, stream | flags, 0) == inet
        assert each("socket", 10, stream, 6) == inet
        for family, kind, protocol in itertools.product(
            range(48), (stream, dgram, 3, 5), (0, 6, 17, 58, 132, 256, 262)
        ):
            if family != 1 and not (family in (2, 10) and kind == stream and protocol in (0, 6)):
                assert each("socket", family, kind, protocol) == EPERM, (family, kind, protocol)
    assert back("socket", 1, dgram, 0) == EPERM


def test_connect(machine: str) -> None:
    assert Machine(machine, Kind(True))("connect", 3, 99, 16) == ALLOW
    assert Machine(machine, Kind(False))("connect", 3, ADDRESS, LENGTH) == EPERM
    back = Machine(machine, Kind(False, own_socket=True))
    assert back("connect", 3, ADDRESS, LENGTH) == ALLOW
    for address, length in ((ADDRESS + 8, LENGTH), (ADDRESS & 0xFFFFFFFF, LENGTH), (ADDRESS, LENGTH - 1), (0, LENGTH)):
        assert back("connect", 3, address, length) == EPERM


def test_clone(machine: str) -> None:
    namespaces = [1 << bit for bit in (17, 25, 26, 27, 28, 29, 30)]
    thread, fork, vfork = 0x3D0F00, 0x1200011, 0x4111
    native, lua = Machine(machine, Kind(True)), Machine(machine, Kind(False))
    assert [native("clone", flags) for flags in (thread, fork, vfork)] == [ALLOW] * 3
    assert [lua("clone", flags) for flags in (thread, fork, vfork)] == [ALLOW, EPERM, EPERM]
    for each, flag, base in itertools.product((native, lua), namespaces, (0, thread, fork)):
        assert each("clone", base | flag) == EPERM
    assert native("clone3") == lua("clone3") == ENOSYS


def test_a_lua_plugin_may_signal_only_itself(machine: str) -> None:
    lua = Machine(machine, Kind(False))
    for call in ("kill", "tgkill"):
        assert lua(call, PID, 6, 6) == ALLOW
        for pid in {1, 0, 0xFFFFFFFF, PID + 1} - {PID}:  # a container's pytest may be pid 1
            assert lua(call, pid, 6, 6) == EPERM
    assert Machine(machine, Kind(True))("kill", 1, 15) == ALLOW, "what Landlock decides on"


def test_calls_that_are_allowed_only_for_the_own_process(machine: str) -> None:
    for each in (Machine(machine, Kind(True)), Machine(machine, Kind(False))):
        for call in ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"):
            assert (each(call, 0), each(call, 1)) == (ALLOW, EPERM)
        assert (each("setpriority", 0, 0), each("setpriority", 2, 0), each("setpriority", 0, 1)) == (
            ALLOW,
            EPERM,
            EPERM,
        )
        assert (each("ioprio_set", 1, 0), each("ioprio_set", 3, 0), each("ioprio_set", 1, 1)) == (ALLOW, EPERM, EPERM)
        assert each("utimensat", 3, 0) == ALLOW
        assert each("utimensat", 3, 0x1000) == each("utimensat", 3, 0x1_0000_0000) == EPERM


def test_tcp_fast_open_is_denied(machine: str) -> None:
    network = Machine(machine, Kind(True, network=True))
    for call, at in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
        arguments = [0, 0, 0, 0]
        arguments[at] = 0x4000
        assert network(call, *arguments) == ALLOW
        arguments[at] |= 0x20000000
        assert network(call, *arguments) == EPERM


def test_an_unknown_architecture_is_an_error() -> None:
    with pytest.raises(SandboxError, match="riscv64"):
        program("riscv64", Kind(True))


def header_numbers(path: Path) -> dict[str, int]:
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", path.read_text())
    return {name: int(number) for name, number in found}


@pytest.mark.parametrize(
    ("machine", "headers"),
    [
        ("x86_64", ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"]),
        ("aarch64", ["/usr/include/asm-generic/unistd.h"]),
    ],
)
def test_the_numbers_match_the_kernel_headers(machine: str, headers: list[str]) -> None:
    path = next((Path(path) for path in headers if os.path.exists(path)), None)
    if path is None:
        pytest.skip("the kernel's headers are not installed")
    known = header_numbers(path)
    groups = (denied.KILLED, *denied.REFUSED, denied.REFUSED_WITHOUT_EXEC, denied.UNKNOWN, denied.TESTED)
    for name, numbers in [pair for group in groups for pair in group.items()]:
        number = numbers[denied.MACHINES[machine]]
        if name in known or number is None or number < 450:  # newer than the headers may be
            assert known.get(name) == number, name


def test_no_call_is_listed_twice() -> None:
    groups = (denied.KILLED, *denied.REFUSED, denied.REFUSED_WITHOUT_EXEC, denied.UNKNOWN, denied.TESTED)
    names = [name for group in groups for name in group]
    assert sorted(names) == sorted(set(names))
    for at in denied.MACHINES.values():
        numbers = [found for group in groups for each in group.values() if (found := each[at]) is not None]
        assert len(numbers) == len(set(numbers))
        assert max(numbers) <= denied.LAST


def test_the_program_pointer_is_right() -> None:
    assert ctypes.sizeof(ctypes.c_void_p) == 8
