"""Checks of the machine for `reed doctor`: kernel, container, limits, sandbox, versions.

With a core they read what holds for its process (/proc/PID), which may differ from what holds for this command.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from reed import __version__
from reed.cli.doctor import Finding, error, ok, warning
from reed.config import Config
from reed.figures import size
from reed.system_calls import memfd_create, missing_pidfd_calls, require_proc

MB = 1024 * 1024
_OLDEST_LINUX = (5, 10)
_CORE_MEMORY = 40 * MB  # a core with a few Lua plugins
_MIN_DESCRIPTORS, _MIN_PROCESSES = 4096, 64
_CAPABILITIES = {  # those that make a stolen core worth more
    1: "dac_override",
    2: "dac_read_search",
    12: "net_admin",
    16: "sys_module",
    17: "sys_rawio",
    19: "sys_ptrace",
    21: "sys_admin",
}
_PACKAGES = {"lupa": "lupa", "pyyaml": "yaml", "jsonschema-rs": "jsonschema_rs"}


def kernel() -> Iterator[Finding]:
    require_proc()
    system = os.uname()
    found = f"Linux {system.release} on {system.machine}"
    version = tuple(map(int, re.findall(r"\d+", system.release)[:2]))
    if version < _OLDEST_LINUX:
        yield warning(found, "kernels before 5.10 are not tested", "use a newer kernel")
    else:
        yield ok(found)
    missing = missing_pidfd_calls()
    if missing:
        yield warning(
            f"refused: {', '.join(missing)}",
            "the core identifies processes by their start times and polls for their exit",
            "allow them in the container's seccomp profile",
        )
    else:
        yield ok("pidfds")
    try:
        os.close(memfd_create("reed-doctor"))
    except OSError as caught:
        yield warning(
            f"memfd_create is refused: {caught.strerror}",
            "reed restart needs a folder for temporary files",
            "allow it in the seccomp profile, or set TMPDIR",
        )


def container(pid: int | None, config: Config) -> Iterator[Finding]:
    kind = next((path for path in ("/.dockerenv", "/run/.containerenv") if os.path.exists(path)), "")
    kind = kind or ("the variable container" if "container" in os.environ else "")
    yield ok(f"in a container ({kind})" if kind else "no container was detected")
    status = _status(pid)
    yield ok(f"seccomp filter of the container: {'yes' if status.get('Seccomp') == '2' else 'no'}")
    yield ok(f"no_new_privs: {'yes' if status.get('NoNewPrivs') == '1' else 'no'}")
    effective = int(status.get("CapEff", "0"), 16)
    held = [name for bit, name in _CAPABILITIES.items() if effective >> bit & 1]
    if held:
        yield warning(
            f"capabilities of {'the core' if pid else 'this user'}: {', '.join(held)} …",
            "plugins never have them, but the core needs none either",
            "run the core as a user of its own, or with --cap-drop=ALL",
        )
    else:
        yield ok("no capabilities that a core should not have")
    yield from _cgroup(pid, config)


def _status(pid: int | None) -> dict[str, str]:
    lines = Path(f"/proc/{pid or 'self'}/status").read_text(encoding="utf-8").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _cgroup(pid: int | None, config: Config) -> Iterator[Finding]:
    memory = _least(pid, "memory", "memory.max", "memory.limit_in_bytes")
    if memory is None:
        yield ok("memory: no limit of a cgroup")
    elif memory < _CORE_MEMORY:
        yield warning(
            f"memory: {size(memory)} by a cgroup",
            "a core with a few plugins needs 40 MB, and is killed beyond the limit",
            "raise the memory limit of the container or unit",
        )
    elif config.limits.worker_memory > memory:
        yield warning(
            f"memory: {size(memory)} by a cgroup, but limits.worker_memory is {size(config.limits.worker_memory)}",
            "a large job reaches the limit of the cgroup first, which kills a process instead of failing the job",
            f"set limits.worker_memory below {size(memory)}",
        )
    else:
        yield ok(f"memory: {size(memory)} by a cgroup")
    processes = _least(pid, "pids", "pids.max", "pids.max")
    if processes is not None and processes < _MIN_PROCESSES:
        yield warning(
            f"processes: {processes} by a cgroup",
            "each plugin and worker is a process; further ones fail to start",
            "raise the limit (--pids-limit, TasksMax=)",
        )
    else:
        yield ok(f"processes: {processes or 'no limit of a cgroup'}")


def _least(pid: int | None, controller: str, name: str, name_v1: str) -> int | None:
    """The lowest limit of the process's cgroup and those above it; None: there is none."""
    found: list[int] = []
    for line in Path(f"/proc/{pid or 'self'}/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = Path("/sys/fs/cgroup") / (controller if controllers else "")
        folder = root / path.lstrip("/")
        for each in (folder, *folder.parents):
            if each != root and root not in each.parents:
                break
            try:
                text = (each / (name_v1 if controllers else name)).read_text(encoding="ascii").strip()
            except OSError:  # the root has none, and a container may not see its own path
                continue
            if text.isdigit() and int(text) < 1 << 60:
                found.append(int(text))
    return min(found, default=None)


def limits(pid: int | None) -> Iterator[Finding]:
    lines = Path(f"/proc/{pid or 'self'}/limits").read_text(encoding="ascii").splitlines()[1:]
    hard = {line[:26].strip(): line[26:].split()[1] for line in lines}
    for name, least, option, meaning in (
        ("Max open files", _MIN_DESCRIPTORS, "ulimit -n, LimitNOFILE=", "many connections are refused"),
        ("Max processes", _MIN_PROCESSES, "ulimit -u, LimitNPROC=", "plugins and workers fail to start"),
    ):
        found = f"{name.lower()}: {hard[name]}"
        if hard[name].isdigit() and int(hard[name]) < least:
            yield warning(found, meaning, f"raise it to {least} or more: {option}")
        else:
            yield ok(found)
    if hard["Max file size"].isdigit():
        yield warning(
            f"max file size: {size(int(hard['Max file size']))}",
            "writes fail when content.db reaches it",
            "ulimit -f unlimited, LimitFSIZE=infinity",
        )


def sandbox(config: Config) -> Iterator[Finding]:
    from reed.sandbox.kernel import Kernel
    from reed.sandbox.probe import probe

    layers = probe(Kernel())
    for name, found in (
        ("no_new_privs", layers.no_new_privs),
        (f"landlock, ABI {layers.landlock}", layers.landlock),
        ("seccomp", layers.seccomp),
        ("sealed address of a Lua plugin's own socket (mseal)", layers.sealed),
    ):
        if found:
            yield ok(name)
    for text in layers.missing:
        what, _, meaning = text.partition(": ")
        meaning, bracket, fix = meaning.rpartition(" (")
        fix = f"needs {fix.replace(')', '', 1)}" if bracket else ""
        if config.sandbox == "strict":
            yield error(f"{what} is missing", f"sandbox: strict starts no plugin; else {meaning}", fix)
        else:
            yield warning(f"{what} is missing", meaning, fix)
    if config.sandbox == "off":
        yield warning(
            "sandbox: off in the settings",
            "plugins may do what the core's user may",
            "remove the setting: auto is the default",
        )


def versions(config: Config, core: str) -> Iterator[Finding]:
    """`core`: the version of the running core, or ""."""
    from reed.store.sqlite.inspect import library

    yield ok(f"Python {sys.version.split()[0]}, {sys.executable}")
    if core and core != __version__:
        yield warning(
            f"the core runs reed {core}, this command is {__version__}",
            "new code was installed, and the core still runs the old one",
            "reed restart",
        )
    else:
        yield ok(f"reed {__version__}" + (", as the core" if core else ""))
    version, has_fts5 = library()
    if has_fts5:
        yield ok(f"SQLite {version} with FTS5")
    else:
        yield error(f"SQLite {version} lacks FTS5", "there is no search", "install a SQLite with FTS5")
    packages = _PACKAGES | ({"psycopg": "psycopg"} if config.store.kind == "postgres" else {})
    for package, module in packages.items():
        yield _package(package, module)


def _package(package: str, module: str) -> Finding:
    extra = "reed-cms[postgres]" if package == "psycopg" else "reed-cms"
    try:
        version = metadata.version(package)
        importlib.import_module(module)
    except metadata.PackageNotFoundError:
        return error(f"{package} is not installed", "the core does not start", f"pip install '{extra}'")
    except ImportError as caught:
        fix = f"pip install --force-reinstall {package}"
        return error(f"{package} {version} cannot be imported: {caught}", "the core does not start", fix)
    return ok(f"{package} {version}")
