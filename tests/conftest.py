"""Shared fixtures: a real core in its own folders, and the real pages if they are available."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import reed
from reed.client import Client
from reed.testing import Core
from reed.testing.rows import registry_text

CRATE = Path(reed.__file__).parent / "rust"

LONGEST_TEMPORARY_FOLDER = 40  # bytes: many tests bind a socket of their own below it


def pytest_configure(config: pytest.Config) -> None:
    """The same environment wherever the tests are started from."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # by a shell's `trap "" INT`, or `&` in a script
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if len(tempfile.gettempdir()) > LONGEST_TEMPORARY_FOLDER and os.access("/tmp", os.W_OK):
        os.environ["TMPDIR"] = tempfile.tempdir = "/tmp"


class Site(Core):
    """A site's folders under `root` and its core, none of which uses /tmp/reed-cms."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.root = root

    @property
    def socket_path(self) -> Path:
        return self.socket

    def set_rows(self, *rows: str) -> None:
        """Write the registry. A row has {} for its socket_path."""
        lines = [row.replace("{}", f"/tmp/reed-cms/plugins/{row.split(',', 1)[0]}.sock", 1) for row in rows]
        self.registry.write_text(registry_text() + "".join(f"{line}\n" for line in lines))

    def add_lua_plugin(self, name: str, main: str, manifest: str = "", version: str = "1.0.0") -> Path:
        folder = self.root / "plugins" / name
        folder.mkdir(exist_ok=True)
        (folder / "main.lua").write_text(main)
        (folder / "plugin.yaml").write_text(f"name: {name}\nversion: {version}\n{manifest}")
        return folder

    def allow_python(self, name: str) -> None:
        """Allow a native plugin in Python to run this interpreter and its libraries."""
        paths = {sys.prefix, sys.base_prefix, *(path for path in sys.path if path)}
        with self.config.open("a") as file:
            file.write(f"plugins: {{{name}: {{paths: {json.dumps(sorted(paths))}}}}}\n")

    def start(self, *flags: str, wrapper: tuple[str, ...] = ()) -> Site:
        super().start(*flags, wrapper=wrapper)
        return self

    def reed(self, *words: str, stdin: str | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run the command line against this core."""
        return subprocess.run(
            [sys.executable, "-m", "reed", *words],
            cwd=self.root,
            env=os.environ | {"REED_RUNTIME_DIR": str(self.runtime_dir), "REED_DATA_DIR": str(self.data_dir)},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def no_tracebacks(self) -> None:
        assert "Traceback" not in self.log.read_text(), self.log.read_text()


class Load:
    """Calls without pause on its own connection until `end` or an error, and keeps each response."""

    def __init__(self, socket_path: Path, call: Callable[[Client, int], Any]) -> None:
        """`call` gets the number of earlier calls."""
        self.answers: list[Any] = []
        self.errors: list[Exception] = []
        self._call = call
        self._over = threading.Event()
        self._client = Client(socket_path)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self.answers.append(self._call(self._client, len(self.answers)))
            except Exception as error:  # noqa: BLE001
                self.errors.append(error)
                return

    def end(self) -> None:
        self._over.set()
        self._thread.join(60)
        self._client.close()


@pytest.fixture
def under_load(site) -> Callable[[Callable[[Client, int], Any]], list[Load]]:
    """Starts four of them with the same call."""
    return lambda call: [Load(site.socket_path, call) for _ in range(4)]


@pytest.fixture
def site(tmp_path):
    """A site whose core is not started yet; it is stopped at the end."""
    site = Site(tmp_path / "site")
    yield site
    if site.process is not None:
        site.stop()


@pytest.fixture
def core(site):
    """A running core."""
    return site.start()


@pytest.fixture(scope="session")
def cargo_build(tmp_path_factory) -> Callable[..., Path]:
    """Builds a crate of the tests and returns the output folder. Shared dependencies are built once."""
    if not shutil.which("cargo"):
        pytest.skip("cargo is not here: what is written in Rust is left out")
    target = os.environ.get("REED_TESTS_TARGET") or str(tmp_path_factory.mktemp("cargo"))

    def build(folder: Path, *flags: str) -> Path:
        built = subprocess.run(
            ["cargo", "build", "--quiet", *flags],
            cwd=folder,
            env=os.environ | {"CARGO_TARGET_DIR": target},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert built.returncode == 0, built.stderr
        return Path(target) / "debug"

    return build


@pytest.fixture(scope="session")
def plugin_build(cargo_build, tmp_path_factory) -> Callable[[Path], Path]:
    """Builds a plugin of the tests, a crate named like its folder, and returns the executable."""

    def build(source: Path) -> Path:
        folder = tmp_path_factory.mktemp(source.name)
        shutil.copytree(source, folder, dirs_exist_ok=True)
        manifest = folder / "Cargo.toml"
        manifest.write_text(manifest.read_text().replace("REED_PLUGIN", str(CRATE)))
        return cargo_build(folder) / source.name

    return build


@pytest.fixture(scope="session")
def pages() -> Path:
    """The real content, pages.jsonl."""
    named = os.environ.get("REED_PAGES")
    path = Path(named) if named else Path(__file__).parents[2] / "shared" / "data" / "pages.jsonl"
    if not path.is_file():
        pytest.skip("pages.jsonl is not there: name it with REED_PAGES")
    return path
