"""Jobs run in a child process that is confined like a plugin's."""

from __future__ import annotations

import errno
import json
import os
import traceback
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from reed.plugin_types import TYPES
from reed.sandbox.confine import Confinement, Sandbox
from reed.sandbox.rules import Rules, rules_for

Job = Callable[[], Any]


class Place(NamedTuple):
    """The plugin `me`, in a runtime folder with the plugins `a` and `b`, and a secret file."""

    root: Path

    @property
    def plugin(self) -> Path:
        return self.root / "plugin"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def runtime(self) -> Path:
        return self.root / "run"

    @property
    def secret(self) -> Path:
        return self.root / "secret"

    def rules(self, plugin_type: str = "native", permissions: tuple[str, ...] = (), **more: Any) -> Rules:
        more = {"network": (), **more}
        return rules_for(TYPES[plugin_type].profile, self.plugin, self.data, self.runtime, "me", permissions, **more)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path)
    for folder in (found.plugin, found.data, found.runtime / "fifos", found.runtime / "plugins"):
        folder.mkdir(parents=True)
    (found.plugin / "main.lua").write_text("return 1")
    found.secret.write_text("secret")
    for pair in ("me→a", "me→b", "a→me", "b→me", "a→b", "b→a"):
        os.mkfifo(found.runtime / "fifos" / pair, 0o600)
        writer, reader = pair.split("→")
        for link in (f"{writer}/to/{reader}", f"{reader}/from/{writer}"):
            path = found.runtime / "peers" / link
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(found.runtime / "fifos" / pair, path)
    return found


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    return Sandbox()


@pytest.fixture
def needs(sandbox: Sandbox) -> Callable[..., None]:
    """Skips a test if the kernel lacks a layer."""

    def check(abi: int = 1, *, seccomp: bool = True) -> None:
        if sandbox.layers.landlock < abi:
            pytest.skip(f"this kernel has Landlock ABI {sandbox.layers.landlock}, this test needs {abi}")
        if seccomp and not sandbox.layers.seccomp:
            pytest.skip("no seccomp filter for this kernel or architecture")

    return check


def name_of(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error))


def attempt(job: Job) -> Any:
    """The job's result, or the name of its OSError."""
    try:
        return job()
    except OSError as error:
        return name_of(error)


class Inside:
    """Runs jobs in confined children."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.confinement: Confinement  # in the child

    def __call__(self, rules: Rules, *jobs: Job, keep: Collection[int] = ()) -> Any:
        """The results of the jobs, run in one child: a list, or the value of a single job."""
        read, write = os.pipe()
        confinement = self.confinement = self.sandbox.prepare(rules, keep={write, *keep})
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                confinement.apply()
                answer = {"results": [attempt(job) for job in jobs]}
            except BaseException:  # noqa: BLE001 - sent to the parent
                answer = {"trace": traceback.format_exc()}
            os.write(write, json.dumps(answer).encode())
            os._exit(0)
        confinement.close()
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            data = pipe.read()
        _, status = os.waitpid(pid, 0)
        if not data:
            return f"ended with {os.waitstatus_to_exitcode(status)}"
        answer = json.loads(data)
        assert "trace" not in answer, answer["trace"]
        return answer["results"] if len(jobs) > 1 else answer["results"][0]


@pytest.fixture
def inside(sandbox: Sandbox) -> Inside:
    return Inside(sandbox)
