"""Which files of a plugin's folder count as changed."""

from __future__ import annotations

import os
from pathlib import Path

from reed.cli.author.dev import FileWatch


def test_files_that_are_added_changed_and_removed(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "main.lua").write_text("1")
    watch = FileWatch(tmp_path)
    assert watch.changes() == []
    (tmp_path / "main.lua").write_text("22")
    (tmp_path / "tests/test_it.lua").write_text("")
    assert watch.changes() == ["main.lua", "tests/test_it.lua"]
    (tmp_path / "main.lua").unlink()
    assert watch.changes() == ["main.lua"]
    assert watch.changes() == []


def test_a_file_of_the_same_size_and_time_that_takes_the_place_of_another(tmp_path: Path) -> None:
    path, new = tmp_path / "main.lua", tmp_path / ".main.lua.new"
    path.write_text("return 1")
    watch = FileWatch(tmp_path)
    new.write_text("return 2")
    status = path.stat()
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.rename(path)
    assert watch.changes() == ["main.lua"]


def test_what_tools_and_editors_write_does_not_count(tmp_path: Path) -> None:
    watch = FileWatch(tmp_path)
    for name in ("target/release/demo", ".git/index", "__pycache__/main.pyc", ".main.lua.swp", "main.lua~"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "nowhere.lua").symlink_to(tmp_path / "gone")
    assert watch.changes() == []
