"""A full disk: each command names the file that it could not write, and leaves no part of one behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reed.cli.output_file import appending, replacing
from tests.cli.conftest import ENVIRON

FULL = "No space left on device"


@pytest.fixture(scope="module")
def disk(tmp_path_factory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "reed-test", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no small disk to fill: mounting needs root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(autouse=True)
def content(on_site) -> None:
    on_site("registry", "define", "page", "{}")
    on_site("snippet", "create", "page", '{"title": "About"}')


@pytest.fixture
def full(disk) -> Path:
    """A disk without a free block; files without content can still be created."""
    for path in disk.iterdir():
        subprocess.run(["rm", "-r", path], check=True)
    (disk / "ballast").write_bytes(bytes(64 * 1024))
    return disk


def left(disk: Path) -> list[str]:
    return sorted(path.name for path in disk.iterdir() if path.name != "ballast")


def test_export_metrics_and_pack_name_their_file(on_site, site_folder, full) -> None:
    form_validator = str(site_folder / "plugins/form-validator")
    for *words, name in (
        ("export", "all.jsonl"),
        ("metrics", "--output", "reed.prom"),
        ("plugin", "pack", form_validator, "--output", "form.tar.gz"),
    ):
        assert on_site(*words, str(full / name)) == (1, "", f"reed: {full / name}: {FULL}\n")
    assert left(full) == []


def test_a_backup_names_the_disk_of_the_backup_not_that_of_the_content(on_site, full) -> None:
    ran = on_site("backup", "create", str(full / "site.tar"))
    assert (ran.code, ran.err) == (1, f"reed: the disk of {full / 'site.tar'} is full; free some space and try again\n")
    assert left(full) == []


def test_a_new_site_names_its_file_and_can_be_made_again(on_site, full) -> None:
    site = full / "site"
    assert on_site("init", str(site)) == (1, "", f"reed: {site / 'reed.yaml'}: {FULL}\n")
    (full / "ballast").unlink()
    made = [str(site / name) for name in ("reed.yaml", "plugin-registry.csv", "plugins")]
    assert on_site("init", str(site)).out.split() == made
    assert (site / "plugin-registry.csv").read_text().count("\n") > 5


def test_a_plugin_that_cannot_start_names_the_file(on_site, site_folder) -> None:
    """The FIFO of its output."""
    output = site_folder / "run/output"
    mount = ["mount", "-t", "tmpfs", "-o", "nr_inodes=1", "reed-test", output]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    try:
        ran = on_site("plugin", "start", "form-validator")
    finally:
        subprocess.run(["umount", output], check=True)
    assert ran.code == 1
    assert f"{output}/form-validator.1: {FULL}" in ran.err


def test_a_new_plugin_names_its_file(on_site, full) -> None:
    ran = on_site("plugin", "scaffold", "word-count", "--lang", "lua", "--dir", str(full))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"reed: {full}/word-count/")
    assert ran.err.endswith(f": {FULL}\n")
    assert left(full) == []


def test_a_copied_plugin_names_the_copy_not_its_source(on_site, full) -> None:
    on_site("init")
    (full / "plugins").mkdir()
    ran = on_site("plugin", "add", "backup", "--yes", "--plugin-dir", str(full / "plugins"))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"reed: {full}/plugins/")
    assert ran.err.endswith(f": {FULL}\n")


def test_a_core_that_could_not_log_says_why(reed, full, tmp_path) -> None:
    ran = reed("start", "--runtime-dir", str(tmp_path / "run"), "--data-dir", str(full / "data"))
    assert (ran.code, ran.out) == (1, "")
    assert "the disk of the log is full" in ran.err


def test_an_appended_file_and_a_device_are_named(full) -> None:
    with pytest.raises(OSError, match=FULL) as failed, appending(str(full / "frames")) as file:
        file.write(bytes(100))
    assert failed.value.filename == str(full / "frames")
    with pytest.raises(OSError, match=FULL) as failed, replacing("/dev/full") as file:
        file.write(bytes(100))
    assert failed.value.filename == "/dev/full"


@pytest.mark.parametrize("words", [["status", "--json"], ["metrics"], ["export", "-"], ["backup", "create", "-"]])
def test_long_output_to_a_full_disk_names_standard_output(site_folder, words) -> None:
    """More than the buffer of standard output holds: what a write could not write is gone at the end of the command."""
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "reed", "--runtime-dir", str(site_folder / "run"), *words],
            stdout=full, stderr=subprocess.PIPE, env=ENVIRON, check=False, timeout=20, text=True,
        )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (1, f"reed: standard output: {FULL}\n")


@pytest.mark.parametrize("path", ["", "/", ".", "/tmp", "/tmp/"])
def test_a_folder_is_no_output_file(on_site, path) -> None:
    ran = on_site("export", path)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        f"reed: {path}: Is a directory\n" if path else "reed: '' is no file name; - is standard output\n"
    )
    assert not [name for name in os.listdir(path or ".") if name.endswith(".new")]
