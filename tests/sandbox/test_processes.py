"""Other processes cannot be signalled, traced or tuned; children and threads by plugin type; limits."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable

import pytest

from reed.sandbox.denied import KERNEL, KILLED, MACHINES, MOUNTS, TRACING
from reed.system_calls import pidfd_open, pidfd_send_signal

KINDS = pytest.mark.parametrize("plugin_type", ["lua", "native"])
CORE = os.getpid()  # the parent of every confined process


def done(job: Callable[..., object], *arguments: object) -> str:
    job(*arguments)
    return "done"


def call(number: int, *arguments: int) -> int:
    """Makes a system call by number."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result: int = libc.syscall(*[ctypes.c_long(each) for each in (number, *arguments)])
    if result == -1:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return result


def number(group: dict[str, tuple[int | None, int | None]], name: str) -> int:
    found = group[name][MACHINES[os.uname().machine]]
    assert found is not None
    return found


def child(job: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            job()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@KINDS
def test_a_plugin_cannot_signal_the_core(place, inside, needs, plugin_type: str) -> None:
    needs(0 if plugin_type == "lua" else 6)
    pidfd = pidfd_open(CORE)
    jobs = [
        lambda: done(os.kill, CORE, 0),
        lambda: done(os.kill, CORE, signal.SIGWINCH),
        lambda: done(os.kill, 1, 0),
        lambda: done(pidfd_send_signal, pidfd, 0),
    ]
    if group := os.getpgid(CORE):  # 0 if it is outside our PID namespace; killpg(0) would be our own group
        jobs.append(lambda: done(os.killpg, group, 0))
    assert inside(place.rules(plugin_type), *jobs, keep={pidfd}) == ["EPERM"] * len(jobs)
    os.close(pidfd)


def abort() -> None:
    faulthandler.disable()
    os.abort()


@KINDS
def test_a_plugin_may_signal_itself(place, inside, needs, plugin_type: str) -> None:
    needs()
    got = []

    def own() -> str:
        signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
        os.kill(os.getpid(), signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
        return f"{len(got)} came"

    assert inside(place.rules(plugin_type), own) == "2 came"
    assert inside(place.rules(plugin_type), abort) == f"ended with {-signal.SIGABRT}"


@KINDS
def test_other_processes_cannot_be_traced_or_tuned(place, inside, needs, plugin_type: str) -> None:
    needs(0)
    jobs = [
        lambda: call(number(TRACING, "ptrace"), 16, CORE, 0, 0),  # PTRACE_ATTACH
        lambda: call(number(TRACING, "process_vm_readv"), CORE, 0, 0, 0, 0, 0),
        lambda: call(number(TRACING, "process_vm_writev"), CORE, 0, 0, 0, 0, 0),
        lambda: call(number(TRACING, "pidfd_getfd"), 0, 0, 0),
        lambda: done(resource.prlimit, CORE, resource.RLIMIT_NOFILE),
        lambda: done(os.sched_setaffinity, CORE, {0}),
        lambda: done(os.sched_setscheduler, CORE, os.SCHED_IDLE, os.sched_param(0)),
        lambda: done(os.setpriority, os.PRIO_PROCESS, CORE, 19),
        lambda: done(os.setpriority, os.PRIO_USER, 0, 19),
    ]
    answers = inside(place.rules(plugin_type), *jobs)
    assert [answer for answer in answers if answer not in ("EPERM", "EACCES")] == []
    on_itself = [
        lambda: done(resource.getrlimit, resource.RLIMIT_NOFILE),
        lambda: done(os.sched_setaffinity, 0, os.sched_getaffinity(0)),
        lambda: done(os.setpriority, os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0)),
    ]
    assert inside(place.rules(plugin_type), *on_itself) == ["done"] * 3


@KINDS
@pytest.mark.parametrize("name", ["bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "keyctl", "personality"])
def test_kernel_interfaces_are_denied(place, inside, needs, plugin_type: str, name: str) -> None:
    needs(0)
    assert inside(place.rules(plugin_type), lambda: call(number(KERNEL, name), -1, 0, 0)) == "EPERM"


@KINDS
def test_mounting_and_namespaces_are_denied(place, inside, needs, plugin_type: str) -> None:
    needs(0)
    names = ["mount", "umount2", "pivot_root", "chroot", "open_tree", "fsopen", "unshare", "setns", "open_by_handle_at"]
    jobs = [lambda name=name: call(number(MOUNTS, name), 0, 0, 0, 0, 0) for name in names]
    assert inside(place.rules(plugin_type), *jobs) == ["EPERM"] * len(names)


@pytest.mark.parametrize("name", ["init_module", "kexec_load", "reboot"])
def test_an_attack_on_the_machine_kills_the_process(place, inside, needs, name: str) -> None:
    needs(0)
    answer = inside(place.rules("native"), lambda: call(number(KILLED, name), 0, 0, 0))
    assert answer == f"ended with {-signal.SIGSYS}"


def test_unknown_calls_return_enosys(place, inside, needs) -> None:
    needs(0)
    jobs = [lambda: call(469), lambda: call(999)]
    if os.uname().machine == "x86_64":
        jobs.append(lambda: call(0x40000000 + 39))  # getpid by the x32 ABI
    assert set(inside(place.rules("native"), *jobs, lambda: call(435, 0, 0))) == {"ENOSYS"}


def test_a_native_plugin_has_children_but_no_namespaces(place, inside, needs) -> None:
    needs(0)
    rules = place.rules("native")
    clone = 56 if os.uname().machine == "x86_64" else 220
    namespaces = [0x10000000, 0x40000000, 0x20000000, 0x00020000]  # user, net, pid, mount

    def spawn() -> int:
        return os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)[1])

    assert inside(rules, lambda: child(lambda: None), spawn) == [0, 0]
    jobs = [lambda flag=flag: call(clone, flag | signal.SIGCHLD, 0, 0, 0, 0) for flag in namespaces]
    assert inside(rules, *jobs) == ["EPERM"] * 4


def test_children_inherit_the_confinement(place, inside, needs) -> None:
    needs()

    def peek() -> None:
        with pytest.raises(PermissionError):
            place.secret.read_text()

    assert inside(place.rules("native"), lambda: child(peek)) == 0


def test_a_child_cannot_leave_the_process_group(place, inside, needs) -> None:
    """The core kills a plugin with all its children by the process group."""
    needs(0)

    def leave() -> None:
        for way in (os.setsid, lambda: os.setpgid(0, 0)):
            with pytest.raises(PermissionError):
                way()

    assert inside(place.rules("native"), lambda: child(leave)) == 0


def test_a_lua_plugin_has_no_children(place, inside, needs) -> None:
    needs(0)
    jobs = [
        lambda: child(lambda: None),
        lambda: os.posix_spawn("/bin/true", ["true"], {}),
        lambda: done(os.execv, "/bin/true", ["true"]),
        lambda: done(os.execv, sys.executable, ["python"]),
        lambda: str(os.popen("true")),
    ]
    assert set(inside(place.rules("lua"), *jobs)) == {"EPERM"}


@KINDS
def test_threads_are_allowed(place, inside, needs, plugin_type: str) -> None:
    needs(0)
    got: list[int] = []

    def work() -> int:
        threads = [threading.Thread(target=got.append, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(got)

    assert inside(place.rules(plugin_type)._replace(processes=None), work) == 4


def open_descriptors() -> list[int]:
    found = []
    for fd in range(3, 256):
        try:
            os.fstat(fd)
            found.append(fd)
        except OSError:
            continue
    return found


def test_a_lua_plugin_keeps_only_the_given_descriptors(place, inside, needs) -> None:
    needs(0)
    kept, secret = (os.open(place.secret, os.O_RDONLY) for _ in range(2))
    left = inside(place.rules("lua"), open_descriptors, keep={kept})
    assert kept in left
    assert secret not in left
    assert len(left) == 2, "and the pipe of this test"
    os.close(kept)
    os.close(secret)


def test_a_native_plugin_inherits_no_descriptor_through_exec(place, inside, needs) -> None:
    needs(0)
    secret = os.open(place.secret, os.O_RDONLY)
    os.set_inheritable(secret, True)
    found = inside(place.rules("native"), lambda: [os.get_inheritable(fd) for fd in open_descriptors()])
    assert len(found) > 1
    assert not any(found)
    os.close(secret)


def test_limits_are_enforced(place, inside, needs) -> None:
    needs(0)
    kinds = (resource.RLIMIT_CORE, resource.RLIMIT_NOFILE, resource.RLIMIT_DATA)

    def allocate() -> str:
        try:
            return str(len(bytearray(1 << 30)))
        except MemoryError:
            return "no memory"

    rules = place.rules("native", memory=512 << 20)._replace(open_files=64)
    found = inside(rules, lambda: [resource.getrlimit(kind) for kind in kinds], allocate)
    assert found == [[[each, each] for each in (0, 64, 512 << 20)], "no memory"]


def test_a_limit_is_never_raised(place, inside, needs) -> None:
    needs(0)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    rules = place.rules("native")._replace(open_files=hard + 1000)
    assert inside(rules, lambda: resource.getrlimit(resource.RLIMIT_NOFILE)) == [hard, hard]
