"""contrib/container/Containerfile, built and run with Podman as contrib/docs/guide/containers.md says.

    debootstrap ── rootfs of Debian ── podman import ── the base image ── podman build ── podman run

Skipped where that cannot be done: it needs root, Podman with runc or crun, and REED_BASE_IMAGE, a tar file of Debian's
root folder, since registries of images may be out of reach (contrib/pythons.sh makes one).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import reed

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "contrib/docs/guide/containers.md"
BASE = "localhost/debian:trixie-slim"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
MB = 1024 * 1024
# Without systemd there are no timers for health checks, and limits may be lower than Podman's defaults.
HERE = ["--network=none", "--no-healthcheck", "--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096"]


class Podman:
    """With folders of its own, which are removed at the end."""

    def __init__(self, folder: Path) -> None:
        runtime = shutil.which("runc") or shutil.which("crun") or "crun"
        self.folder = folder  # conmon leaves an empty file `oom` where it was started
        places = [f"--root={folder / 'root'}", f"--runroot={folder / 'run'}", f"--tmpdir={folder / 'tmp'}"]
        self._command = [
            "podman",
            *places,
            f"--runtime={runtime}",
            "--cgroup-manager=cgroupfs",
            "--events-backend=none",
        ]

    def __call__(self, *words: str, check: bool = True, **more) -> subprocess.CompletedProcess[str]:
        more.setdefault("cwd", self.folder)
        done = subprocess.run(
            [*self._command, *words], capture_output=True, text=True, check=False, timeout=300, **more
        )
        assert not check or done.returncode == 0, f"podman {shlex.join(words)}\n{done.stdout}{done.stderr}"
        return done

    def inspect(self, name: str, template: str) -> str:
        return self("inspect", "--format", template, name).stdout.strip()


class Container:
    """A running container, started by the command of the guide."""

    def __init__(self, podman: Podman, name: str) -> None:
        self.podman = podman
        self.name = name
        self.pid = int(podman.inspect(name, "{{.State.Pid}}"))

    def run(self, *words: str, check: bool = True, **more) -> subprocess.CompletedProcess[str]:
        return self.podman("exec", self.name, *words, check=check, **more)

    def log(self) -> str:
        done = self.podman("logs", self.name)
        return done.stdout + done.stderr

    def status(self, key: str) -> str:
        """A line of /proc/1/status."""
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        return re.search(rf"^{key}:\s*(.*)$", text, re.MULTILINE)[1]


def folder_of_the_build(folder: Path) -> Path:
    """What the Containerfile copies, from the package under test."""
    package = Path(reed.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__", "target", "*.so")
    shutil.copytree(package, folder / "reed", ignored_in_package(package, ignored))
    plugins = package / "plugins" if (package / "plugins").is_dir() else ROOT / "contrib/plugins"
    shutil.copytree(plugins, folder / "contrib/plugins", ignore=ignored)
    shutil.copytree(ROOT / "contrib/container", folder / "contrib/container")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def ignored_in_package(package: Path, ignored):
    """An installed package has the bundled plugins in it."""
    return lambda folder, names: {*ignored(folder, names), *(["plugins"] if Path(folder) == package else [])}


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    base = os.environ.get("REED_BASE_IMAGE", "")
    if os.geteuid() or not shutil.which("podman"):
        pytest.skip("no image is built: that needs root and Podman (Debian: apt-get install podman runc)")
    if not base:
        pytest.skip("no image is built: REED_BASE_IMAGE names no tar file of Debian's root folder")
    folder = Path(tempfile.mkdtemp(prefix="reed-podman.", dir="/var/tmp"))
    podman = Podman(folder)
    try:
        podman("import", base, BASE)
        yield podman
    finally:
        podman("rm", "--all", "--force", check=False)
        podman("rmi", "--all", "--force", check=False)
        subprocess.run(["umount", "--recursive", "--quiet", folder / "root/overlay"], check=False, capture_output=True)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def image(podman: Podman, tmp_path_factory) -> str:
    folder = folder_of_the_build(tmp_path_factory.mktemp("build"))
    (build, _) = commands()
    more = ["--network=host", "--isolation=chroot", "--format=docker", f"--build-arg=BASE={BASE}"]
    if CERTIFICATES.is_file():  # a package index may have certificates that only this machine knows
        more += [f"--volume={CERTIFICATES}:/machine.crt:ro", "--build-arg=PIP_CERT=/machine.crt"]
    podman("build", *more, *build[2:], cwd=folder)
    return "reed"


@pytest.fixture
def container(podman: Podman, image: str, tmp_path: Path, request) -> Iterator[Container]:
    """`request.param` are further options of `podman run`."""
    tmp_path.chmod(0o755)  # user 10001 reads it
    (tmp_path / "plugins").mkdir()
    for name in ("reed.yaml", "plugin-registry.csv"):
        (tmp_path / name).write_text(podman("run", "--rm", *HERE, image, "cat", f"/srv/site/{name}").stdout)
    (_, run) = commands()
    words = [word.replace("$PWD", str(tmp_path)) for word in run[2:]]
    podman("run", *HERE, *words[:-1], *getattr(request, "param", []), words[-1])
    try:
        yield Container(podman, "reed")
    finally:
        podman("rm", "--force", "reed")
        podman("volume", "rm", "--all", "--force")


def commands() -> tuple[list[str], list[str]]:
    """`podman build …` and `podman run …` of the guide."""
    (block,) = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = block.replace("\\\n", " ").splitlines()
    build, run = (shlex.split(line) for line in lines[:2])
    assert build[:2] == ["podman", "build"]
    assert run[:2] == ["podman", "run"]
    return build, run


def wait_until_ready(container: Container) -> None:
    """The health check of the image succeeds."""
    for _ in range(100):
        if container.run("reed", "status", check=False).returncode == 0:
            return
    pytest.fail(container.log())


def memory(container: Container) -> int:
    """Bytes of the container's processes and of its tmpfs, without what the kernel caches of files."""
    groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{container.pid}/cgroup").read_text().splitlines())
    place = next((path for names, path in groups.items() if names == "memory"), None)
    folder = Path(f"/sys/fs/cgroup/memory{place}" if place else f"/sys/fs/cgroup{groups.get('', '')}")
    if not (folder / "memory.stat").is_file():
        pytest.skip("no memory cgroup can be read here")
    figures = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return int(figures.get("rss") or figures["anon"]) + int(figures["shmem"])


def test_the_image_is_small(podman: Podman, image: str) -> None:
    assert int(podman.inspect(image, "{{.Size}}")) <= 137 * MB
    used = podman("run", "--rm", *HERE, image, "du", "-s", "--block-size=1", "/opt/reed").stdout.split()[0]
    assert int(used) <= 27 * MB


def test_the_core_is_pid_1_and_has_no_privilege(container: Container) -> None:
    wait_until_ready(container)
    assert "ready on /tmp/reed-cms/core.sock (pid 1)" in container.log()
    assert container.status("Uid").split() == ["10001"] * 4
    assert {container.status(f"Cap{kind}") for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert container.status("NoNewPrivs") == "1"
    assert "Read-only" in container.run("touch", "/opt/x", check=False).stderr
    health = json.loads(container.podman.inspect("localhost/reed", "{{json .HealthCheck.Test}}"))
    assert health == ["CMD", "reed", "status"]


def test_plugins_run_in_it_and_nothing_is_left_when_it_stops(container: Container, tmp_path: Path) -> None:
    """Without --init the core itself waits for orphans."""
    wait_until_ready(container)
    container.run("reed", "registry", "define", "page", '{"searchable": {"title": 1}}')
    container.run("reed", "snippet", "create", "page", "--name", "a", '{"title": "Rye bread"}')
    container.run("reed", "plugin", "start", "simple-seo")
    assert "confined" not in container.log()
    found = container.run("reed", "search", "rye")
    assert "Rye bread" in found.stdout
    assert "score" in container.run("reed", "plugin", "send", "simple-seo", "validate", "a").stdout
    restarted = container.run("reed", "restart")
    assert restarted.returncode == 0
    assert container.run("sh", "-c", "grep -l '^State:.Z' /proc/[0-9]*/status", check=False).stdout == ""
    container.podman("stop", "--time", "20", "reed")
    assert container.podman.inspect("reed", "{{.State.ExitCode}} {{.State.OOMKilled}}") == "0 false"
    assert container.log().rstrip().endswith("stopped")


@pytest.mark.parametrize("container", [["--memory=48m"]], indirect=True)
def test_it_needs_less_than_30_mb_at_rest_and_48_mb_for_reads_and_writes(container: Container) -> None:
    wait_until_ready(container)
    assert memory(container) < 30 * MB
    container.run("reed", "registry", "define", "page", '{"searchable": {"title": 1}}')
    container.run("reed", "snippet", "create", "page", "--name", "a", '{"title": "Rye bread"}')
    assert "Rye bread" in container.run("reed", "snippet", "get", "a").stdout
    assert container.run("reed", "status", check=False).returncode == 0, "the health check"


LEAKS = """
local reed = require("reed")
local plugin = reed.create_plugin {}
plugin.action("leak", function()
  local kept = {}
  while true do kept[#kept + 1] = ("x"):rep(100000) .. #kept end
end)
plugin.run()
"""


@pytest.mark.parametrize("container", [["--memory=40m"]], indirect=True)
def test_the_kernel_kills_a_plugin_that_leaks_and_not_the_core(container: Container, tmp_path: Path) -> None:
    """The container's memory ends before the plugin's own limit."""
    wait_until_ready(container)
    folder = tmp_path / "plugins/leaky"
    folder.mkdir()
    manifest = "name: leaky\nversion: 1.0.0\nlimits: {memory: 512MB}\nactions: {leak: {command_id: 1, timeout: 60s}}\n"
    (folder / "plugin.yaml").write_text(manifest)
    (folder / "main.lua").write_text(LEAKS)
    with (tmp_path / "plugin-registry.csv").open("a") as rows:
        rows.write("leaky,lua,/tmp/reed-cms/plugins/leaky.sock,1.0.0,,admin,false,leaks\n")
    container.run("reed", "plugin", "reload")
    container.run("reed", "plugin", "start", "leaky")
    failed = container.run("reed", "plugin", "send", "leaky", "leak", check=False)
    assert failed.returncode
    assert "leaky" in container.log()
    assert "SIGKILL" in container.log()
    assert container.run("reed", "status", check=False).returncode == 0
    assert container.podman.inspect("reed", "{{.State.Running}} {{.RestartCount}}") == "true 0"
