"""Landlock: which files, FIFOs and TCP ports a process can use. `probe` lists what each ABI of the kernel adds.

Every access that the ABI handles is denied unless a rule grants it. Open descriptors keep their access.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterator

from reed.sandbox.kernel import Kernel, SandboxError, Step
from reed.sandbox.rules import Rules

_CREATE_RULESET = 444
_ADD_RULE = 445
_RESTRICT_SELF = 446
_VERSION = 1
_PATH_BENEATH = 1
_NET_PORT = 2
_LOG_NEW_EXEC_ON = 2

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_DIR = 1 << 7
MAKE_REG = 1 << 8
REFER = 1 << 13
TRUNCATE = 1 << 14
IOCTL_DEV = 1 << 15

_ABI_1 = (1 << 13) - 1
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_READ = READ_FILE | READ_DIR
_CHANGE = _READ | WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPES = 1 | 2  # abstract Unix sockets, Unix signals


def abi(kernel: Kernel) -> int:
    """0: Landlock is missing or disabled."""
    try:
        return kernel.call(_CREATE_RULESET, 0, 0, _VERSION)
    except OSError:
        return 0


def ruleset(kernel: Kernel, version: int, rules: Rules) -> int:
    size = 8 if version < 4 else 16 if version < 6 else 24
    attributes = struct.pack("=QQQ", _handled(version), _BIND_TCP | _CONNECT_TCP, _SCOPES)
    buffer = ctypes.create_string_buffer(attributes[:size], size)
    try:
        fd = kernel.call(_CREATE_RULESET, ctypes.addressof(buffer), size, 0)
    except OSError as error:
        raise SandboxError("landlock", f"no ruleset: {error.strerror}") from None
    try:
        _add_rules(kernel, version, fd, rules)
    except SandboxError:
        os.close(fd)
        raise
    return fd


def restrict(kernel: Kernel, version: int, fd: int, *, executes: bool, own_proc: bool) -> Iterator[Step]:
    """Enforces the ruleset and closes its descriptor. Needs no_new_privs."""
    if own_proc:  # /proc/self of the child does not exist before the fork
        rule = kernel, fd, ctypes.create_string_buffer(16), "/proc/self", _READ & _handled(version)
        yield Step("landlock", "rule for /proc/self", _add_path, rule)
    flags = _LOG_NEW_EXEC_ON if executes and version >= 7 else 0
    yield Step("landlock", "restrict", kernel.syscall, (_RESTRICT_SELF, fd, flags, 0, 0, 0, 0))
    yield Step("landlock", "close the ruleset", os.close, (fd,))


def _handled(version: int) -> int:
    newer = ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV))
    return _ABI_1 | sum(right for since, right in newer if version >= since)


def _grants(rules: Rules) -> Iterator[tuple[str, int]]:
    for paths, access in (
        (rules.read_paths, _READ),
        (rules.run_paths, _READ | EXECUTE),
        (rules.write_paths, WRITE_FILE),
        (rules.data_paths, _CHANGE),
    ):
        for path in paths:
            yield path, access


def _add_rules(kernel: Kernel, version: int, fd: int, rules: Rules) -> None:
    rule, handled = ctypes.create_string_buffer(16), _handled(version)
    for path, access in _grants(rules):
        _add_path(kernel, fd, rule, path, access & handled)
    for port in rules.connect_tcp if version >= 4 else ():
        struct.pack_into("=QQ", rule, 0, _CONNECT_TCP, port)
        _add(kernel, fd, _NET_PORT, rule, f"port {port}")


def _add_path(kernel: Kernel, fd: int, rule: ctypes.Array[ctypes.c_char], path: str, access: int) -> None:
    try:
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise SandboxError("landlock", f"{path}: {error.strerror}") from None
    try:
        if not stat.S_ISDIR(os.fstat(target).st_mode):
            access &= _OF_FILES
        struct.pack_into("=Qi", rule, 0, access, target)
        _add(kernel, fd, _PATH_BENEATH, rule, path)
    finally:
        os.close(target)


def _add(kernel: Kernel, fd: int, kind: int, rule: ctypes.Array[ctypes.c_char], what: str) -> None:
    try:
        kernel.call(_ADD_RULE, fd, kind, ctypes.addressof(rule), 0)
    except OSError as error:
        raise SandboxError("landlock", f"no rule for {what}: {error.strerror}") from None
