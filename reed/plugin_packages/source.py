"""Where a plugin comes from, and a copy of it.

backup          a plugin in one of the site's own plugin folders, which stays where it is, or a bundled one
./backup        a folder
backup.tar.gz   an archive
"""

from __future__ import annotations

import filecmp
import os
import re
import shutil
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from reed.config import BUNDLED_PLUGINS
from reed.errors import FileError, ManifestError, ReedError, nearest
from reed.plugin_packages.archive import SUFFIXES, unpack
from reed.plugin_packages.files import PackageFile, files_of
from reed.plugin_types import type_of
from reed.plugin_types.native import VENDORED
from reed.plugin_types.plugin_type import PluginType
from reed.supervision import discovery, manifest
from reed.supervision.manifest import FILE_NAME, Manifest
from reed.wire.identifiers import SLUG

_OF_CHECKOUT = BUNDLED_PLUGINS.parents[1] / "contrib" / "plugins"
_CRATE_PATH = re.compile(r'(?m)^(reed-plugin\s*=\s*\{.*\bpath\s*=\s*)"[^"\n]*/reed/rust"')


class Kind(StrEnum):
    IN_PLACE = "in place"
    BUNDLED = "bundled"
    FOLDER = "folder"
    ARCHIVE = "archive"


class Source(NamedTuple):
    kind: Kind
    path: Path


class Package(NamedTuple):
    """A plugin's folder that was checked."""

    folder: Path
    manifest: Manifest
    type: PluginType
    entry: str  # below the folder; "": it must be built first

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def files(self) -> list[PackageFile]:
        return files_of(self.folder, self.entry)


def bundled_folder() -> Path:
    """Of the installed package, or of a checkout."""
    return BUNDLED_PLUGINS if BUNDLED_PLUGINS.is_dir() else _OF_CHECKOUT


def own_folders(plugin_dirs: Sequence[Path]) -> list[Path]:
    """The plugin folders of the site, without that of the bundled plugins."""
    bundled = {BUNDLED_PLUGINS, _OF_CHECKOUT}
    return [folder for folder in plugin_dirs if folder not in bundled and folder.resolve() not in bundled]


def own(name: str, plugin_dirs: Sequence[Path]) -> Path | None:
    """The folder of a plugin in the site's own plugin folders."""
    return next((folder / name for folder in own_folders(plugin_dirs) if (folder / name).is_dir()), None)


def plugins_in(folder: Path) -> list[Path]:
    """The folders with a plugin.yaml, except hidden ones."""
    if not folder.is_dir():
        return []
    return [each for each in folder.iterdir() if (each / FILE_NAME).is_file() and not each.name.startswith(".")]


def bundled() -> list[Path]:
    return sorted(plugins_in(bundled_folder()))


def find(given: str, plugin_dirs: Sequence[Path], *, new_version: bool = False) -> Source:
    """`new_version`: a name means the bundled plugin, since the installed one is to be replaced. Raises ReedError."""
    path = Path(given).absolute()
    if given.endswith(SUFFIXES):
        if not path.is_file():
            raise ReedError(f"{given}: no such file")
        return Source(Kind.ARCHIVE, path)
    if not re.fullmatch(SLUG, given):
        if not path.is_dir():
            raise ReedError(f"{given}: no such folder", hint="NAME, FOLDER or FILE.tar.gz is expected")
        return _folder(path, plugin_dirs)
    installed = None if new_version else own(given, plugin_dirs)
    if installed is not None:
        return Source(Kind.IN_PLACE, installed)
    if (bundled_folder() / given / FILE_NAME).is_file():
        return Source(Kind.BUNDLED, bundled_folder() / given)
    hint = f"for the folder write ./{given}" if path.is_dir() else nearest(given, (each.name for each in bundled()))
    raise ReedError(f"no bundled plugin {given!r}", hint=hint or "name the folder or the archive of the plugin")


def _folder(path: Path, plugin_dirs: Sequence[Path]) -> Source:
    if path.parent.resolve() in {folder.resolve() for folder in own_folders(plugin_dirs)}:
        return Source(Kind.IN_PLACE, path)
    if path.parent.resolve() == bundled_folder().resolve():
        return Source(Kind.BUNDLED, path)
    return Source(Kind.FOLDER, path)


def copied(source: Source, target: Path) -> Package:
    """Put the plugin into the new folder `target`; what is IN_PLACE stays there. Raises ReedError."""
    if source.kind is Kind.IN_PLACE:
        return checked(source.path)
    if source.kind is Kind.ARCHIVE:
        unpack(source.path, target)
        try:
            return checked(target)
        except FileError as error:
            error.path = error.path.replace(str(target), f"{source.path}: {target.name}", 1)
            raise
    package = checked(source.path)
    _copy(package.files, target)
    if source.kind is Kind.BUNDLED:
        _vendor_crate(target, package.type)
    return package._replace(folder=target)


def checked(folder: Path) -> Package:
    """The plugin in a folder, if it can be installed. Raises ManifestError."""
    found = manifest.load(folder)
    plugin_type = type_of(folder, found.name, found.entry)
    manifest.check_stated_versions(found, folder, plugin_type)
    try:
        path = discovery.entry_point(folder, found.name, plugin_type, found.entry)
        entry = path.relative_to(folder).as_posix()
    except ManifestError:
        if not (folder / "Cargo.toml").is_file():
            raise
        entry = ""
    return Package(folder, found, plugin_type, entry)


def is_same(one: Package, other: Package) -> bool:
    """The same files with the same content."""
    with_entry = one.entry and other.entry  # only one of them may have been built
    ours, theirs = (files_of(each.folder, each.entry if with_entry else "") for each in (one, other))
    if [(file.path, file.is_executable) for file in ours] != [(file.path, file.is_executable) for file in theirs]:
        return False
    return all(filecmp.cmp(mine.source, its.source, shallow=False) for mine, its in zip(ours, theirs, strict=True))


def _copy(files: list[PackageFile], target: Path) -> None:
    target.mkdir(mode=0o755)
    for file in files:
        path = target / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.source, path)
        path.chmod(0o755 if file.is_executable else 0o644)
    for folder, _, _ in os.walk(target):
        os.chmod(folder, 0o755)


def _vendor_crate(folder: Path, plugin_type: PluginType) -> None:
    """A bundled plugin in Rust finds the crate by a path of reed's; its copy gets the crate."""
    cargo = folder / "Cargo.toml"
    if not cargo.is_file():
        return
    text, count = _CRATE_PATH.subn(rf'\1"{VENDORED}"', cargo.read_text("utf-8"))
    if not count:
        return
    if "[workspace]" not in text:
        text += '\n[workspace]\nexclude = ["vendor"]\n'
    cargo.write_text(text, "utf-8")
    for path, source in plugin_type.template_files().items():
        if path.startswith(f"{VENDORED}/"):
            (folder / path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            shutil.copyfile(source, folder / path)
