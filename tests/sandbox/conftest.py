"""Every claim is tried from inside: in a child process of its own, confined as a plugin's would be."""

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
    """A plugin `me` in a runtime folder with the plugins `a` and `b`, and something that is none of its business."""

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
    """Skip where this kernel is too old for a claim."""

    def check(abi: int = 1, *, seccomp: bool = True) -> None:
        if sandbox.layers.landlock < abi:
            pytest.skip(f"this kernel has Landlock ABI {sandbox.layers.landlock}, the claim takes {abi}")
        if seccomp and not sandbox.layers.seccomp:
            pytest.skip("this kernel, or this machine, has no seccomp filter of ours")

    return check


def name_of(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error))


def attempt(job: Job) -> Any:
    """What the job gives, or the name of the error that the kernel answers with."""
    try:
        return job()
    except OSError as error:
        return name_of(error)


class Inside:
    """Runs jobs in confined children."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.confinement: Confinement  # in the child: what it was confined by

    def __call__(self, rules: Rules, *jobs: Job, keep: Collection[int] = ()) -> Any:
        """The results of the jobs, tried one after the other in one child: a list, or the value if there is one job."""
        read, write = os.pipe()
        confinement = self.confinement = self.sandbox.prepare(rules, keep={write, *keep})
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                confinement.apply()
                answer = {"results": [attempt(job) for job in jobs]}
            except BaseException:  # noqa: BLE001 - told to the parent
                answer = {"trace": traceback.format_exc()}
            os.write(write, json.dumps(answer).encode())
            os._exit(0)
        confinement.close()
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            said = pipe.read()
        _, status = os.waitpid(pid, 0)
        if not said:
            return f"ended with {os.waitstatus_to_exitcode(status)}"
        answer = json.loads(said)
        assert "trace" not in answer, answer["trace"]
        return answer["results"] if len(jobs) > 1 else answer["results"][0]


@pytest.fixture
def inside(sandbox: Sandbox) -> Inside:
    return Inside(sandbox)
