"""Probing the kernel's layers; `strict`, `auto` and `off`."""

from __future__ import annotations

import errno
import json
import os

import pytest

from reed.sandbox.confine import Sandbox
from reed.sandbox.kernel import Kernel, SandboxError
from reed.sandbox.probe import probe


class OldKernel(Kernel):
    """Reports Landlock only up to `abi` and no mseal; without seccomp no close_range either."""

    def __init__(self, abi: int, *, seccomp: bool = True, machine: str = "") -> None:
        super().__init__(machine)
        self.abi, self.has_seccomp = abi, seccomp

    def call(self, number: int, *arguments: int) -> int:
        if number == 444 and arguments[0] == 0:
            if self.abi:
                return self.abi
            raise OSError(errno.ENOSYS, "not implemented")
        if number == 462 or (number == 436 and not self.has_seccomp):
            raise OSError(errno.ENOSYS, "not implemented")
        return super().call(number, *arguments)

    def control(self, option: int, *arguments: int) -> int:
        if option == 22 and not self.has_seccomp:
            raise OSError(errno.EINVAL, "invalid")
        return super().control(option, *arguments)


def test_the_layers_of_this_kernel_are_consistent(sandbox) -> None:
    layers = sandbox.layers.as_json()
    assert json.loads(json.dumps(layers)) == layers
    assert layers["no_new_privs"] is True
    assert layers["tcp"] == (layers["landlock"] >= 4)
    assert layers["scope"] == (layers["landlock"] >= 6)
    assert (layers["missing"] == []) == (layers["landlock"] >= 6 and layers["seccomp"] and layers["sealed"])


@pytest.mark.parametrize(
    ("abi", "missing"),
    [
        (0, ["landlock", "landlock truncate", "landlock tcp", "landlock ioctl", "landlock scope"]),
        (1, ["landlock truncate", "landlock tcp", "landlock ioctl", "landlock scope"]),
        (3, ["landlock tcp", "landlock ioctl", "landlock scope"]),
        (4, ["landlock ioctl", "landlock scope"]),
        (5, ["landlock scope"]),
        (6, []),
        (99, []),
    ],
)
def test_the_missing_layers_of_older_kernels_are_named(abi: int, missing: list[str]) -> None:
    layers = probe(OldKernel(abi))
    assert layers.landlock == abi
    assert [text.partition(":")[0] for text in layers.missing] == [*missing, "sealed"]


def test_missing_seccomp_is_detected() -> None:
    assert probe(OldKernel(7, seccomp=False)).seccomp is False
    assert probe(OldKernel(7, machine="riscv64")).seccomp is False
    assert any("seccomp" in text for text in probe(OldKernel(7, seccomp=False)).missing)


def test_probing_changes_nothing() -> None:
    with open("/proc/self/status", encoding="ascii") as file:
        before = [line for line in file if line.startswith(("Seccomp", "NoNewPrivs", "Cap"))]
    probe(Kernel())
    with open("/proc/self/status", encoding="ascii") as file:
        assert [line for line in file if line.startswith(("Seccomp", "NoNewPrivs", "Cap"))] == before


def test_strict_names_the_missing_layers(place) -> None:
    sandbox = Sandbox(OldKernel(3))
    with pytest.raises(SandboxError) as refused:
        sandbox.prepare(place.rules("native", mode="strict"))
    assert refused.value.layer == "strict"
    assert "landlock tcp" in str(refused.value)
    assert "landlock scope" in str(refused.value)
    assert "sandbox: auto" in refused.value.hint


def test_strict_starts_a_plugin_when_no_layer_is_missing(place, inside, sandbox) -> None:
    if sandbox.layers.missing:
        pytest.skip("this kernel lacks: " + "; ".join(sandbox.layers.missing))
    assert inside(place.rules("native", mode="strict"), lambda: "runs") == "runs"


def test_auto_applies_the_layers_that_exist(place, inside, needs) -> None:
    """Without Landlock the filter is applied, without seccomp Landlock."""
    needs()

    def tries() -> list[str]:
        found = []
        for job in (place.secret.read_text, lambda: place.secret.chmod(0o600)):
            try:
                job()
                found.append("done")
            except PermissionError:
                found.append("refused")
        return found

    rules = place.rules("native")
    inside.sandbox = Sandbox(OldKernel(0))
    assert inside(rules, tries) == ["done", "refused"]
    inside.sandbox = Sandbox(OldKernel(7, seccomp=False))
    assert inside(rules, tries) == ["refused", "done"]


@pytest.mark.parametrize("plugin_type", ["lua", "native"])
def test_descriptors_are_closed_on_a_kernel_without_close_range(place, inside, plugin_type: str) -> None:
    secret = os.open(place.secret, os.O_RDONLY)
    os.set_inheritable(secret, True)
    inside.sandbox = Sandbox(OldKernel(0, seccomp=False))

    def passes() -> bool:
        try:
            return os.get_inheritable(secret)
        except OSError:
            return False

    assert inside(place.rules(plugin_type), passes) is False
    assert os.get_inheritable(secret)
    os.close(secret)


def test_a_process_can_prepare_and_apply_its_own_confinement(place, needs) -> None:
    needs()
    pid = os.fork()
    if pid == 0:
        try:
            Sandbox().prepare(place.rules("native")).apply()
            with pytest.raises(PermissionError):
                place.secret.read_text()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_off_keeps_no_new_privs_and_limits(place, inside) -> None:
    def status() -> str:
        place.secret.read_text()
        with open("/proc/self/status", encoding="ascii") as file:
            return next(line.split()[1] for line in file if line.startswith("NoNewPrivs"))

    assert inside(place.rules("native", mode="off"), status) == "1"


def test_a_layer_that_fails_is_named(place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel reports Landlock, then rejects the ruleset: the process does not run without it."""

    class Liar(Kernel):
        def call(self, number: int, *arguments: int) -> int:
            if number == 444 and arguments[0] != 0:
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
            return 7 if number == 444 else super().call(number, *arguments)

    with pytest.raises(SandboxError, match="sandbox: landlock: no ruleset"):
        Sandbox(Liar()).prepare(place.rules("native"))


def test_a_failed_prepare_leaks_no_descriptor(place, sandbox, needs) -> None:
    needs()
    before = os.listdir("/proc/self/fd")
    rules = place.rules("lua", own_socket="/" + "x" * 200)
    with pytest.raises(SandboxError, match=r"own socket: .*longer than 107 bytes"):
        sandbox.prepare(rules)
    with pytest.raises(SandboxError, match=r"landlock: .*File name too long"):
        sandbox.prepare(place.rules("native")._replace(read_paths=("/" + "x" * 300,)))
    sandbox.prepare(place.rules("native")).close()
    assert os.listdir("/proc/self/fd") == before


def test_a_missing_path_is_ignored(place, inside, needs) -> None:
    needs()
    rules = place.rules("lua", ("file_write",))
    assert inside(rules._replace(read_paths=(*rules.read_paths, "/no/such/path")), lambda: "runs") == "runs"


def test_on_a_new_kernel_a_missing_layer_may_be_blocked_by_a_seccomp_profile() -> None:
    for release, withheld in (("6.9.1", False), ("6.10.0-rc1", True), ("6.18.44-x", True), ("7.0", True), ("?", False)):
        sealed = probe(OldKernel(7), release).missing[-1]
        assert sealed.startswith("sealed")
        assert ("seccomp profile" in sealed) == withheld, release
        assert (release in sealed) == withheld


@pytest.mark.parametrize(
    ("executes", "mode", "seccomp", "may_fork"),
    [
        (False, "auto", True, False),
        (False, "strict", True, False),
        (False, "auto", False, True),
        (False, "off", True, True),
        (True, "auto", True, True),
    ],
)
def test_only_seccomp_keeps_a_process_from_forking(executes: bool, mode: str, seccomp: bool, may_fork: bool) -> None:
    """RLIMIT_NPROC does not bind root."""
    sandbox = Sandbox()
    sandbox.layers = sandbox.layers._replace(seccomp=seccomp)
    assert sandbox.may_fork(executes=executes, mode=mode) is may_fork
