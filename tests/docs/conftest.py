"""A site in which the commands of a document are typed: an empty folder, with `reed` on the path."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import reed

ROOT = Path(__file__).parents[2]
COMMAND = f"""#!/bin/sh
exec {sys.executable} -c 'import sys; from reed.cli import main; sys.exit(main())' "$@"
"""


class EmptySite:
    """An empty folder, with `reed` on the path and a runtime folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "site"
        self.folder.mkdir()
        (folder / "bin").mkdir()
        (folder / "bin" / "reed").write_text(COMMAND)
        (folder / "bin" / "reed").chmod(0o755)
        self.environ = {
            **os.environ,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(reed.__file__).parent.parent),
            "REED_RUNTIME_DIR": str(folder / "run"),
        }
        self.environ.pop("CARGO_TARGET_DIR", None)  # the core looks for what was built in the plugin's folder
        if not (Path(reed.__file__).parent / "plugins").is_dir():  # only what is installed has them there
            self.environ["REED_PLUGIN_DIR"] = f"plugins:{ROOT / 'contrib/plugins'}"

    def run(self, *command: str, text: str = "", folder: str = ".") -> str:
        done = subprocess.run(
            command,
            input=text,
            cwd=self.folder / folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{command} {text}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def site(tmp_path: Path) -> Iterator[EmptySite]:
    site = EmptySite(tmp_path)
    yield site
    if (tmp_path / "run" / "core.sock").exists():
        site.run("reed", "stop")
