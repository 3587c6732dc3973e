"""A file that people edit is replaced in one step."""

from __future__ import annotations

import resource
import stat

import pytest

from reed.atomic_file import update_file


def test_update_file_keeps_mode_and_symbolic_link(tmp_path) -> None:
    real = tmp_path / "real.csv"
    real.write_bytes(b"old\n")
    real.chmod(0o640)
    link = tmp_path / "link.csv"
    link.symlink_to(real)
    update_file(link, lambda old: old + b"new\n")
    assert link.is_symlink()
    assert real.read_bytes() == b"old\nnew\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.csv", "real.csv"]


def test_update_file_changes_nothing_when_it_fails(tmp_path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"old\n")

    def refuse(old: bytes) -> bytes:
        raise LookupError

    with pytest.raises(LookupError):
        update_file(path, refuse)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, hard))  # like a disk that fills up
    try:
        with pytest.raises(OSError, match="too large"):
            update_file(path, lambda old: old + b"new\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old\n"
    assert [each.name for each in tmp_path.iterdir()] == ["rows.csv"]
