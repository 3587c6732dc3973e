"""`reed backup create|restore`: all content in one file, made while the core runs (guide/backup.md)."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from reed import __version__
from reed.atomic_file import errors_of
from reed.cli import backup_archive as archive
from reed.cli.options import config, connect
from reed.cli.output import Output
from reed.cli.output_file import replacing
from reed.cli.parse import CONFIG, Args, Option, Subcommand
from reed.errors import CoreNotRunning, PermissionDenied, ReedError
from reed.figures import plurals, size

if TYPE_CHECKING:
    from reed.config import Config

_CREATING, _RESTORING = ".reed-backup-", ".reed-restore-"


def create(args: Args, output: Output) -> None:
    from datetime import UTC, datetime

    from reed.store.sqlite.backup import save

    path = args.arg("FILE")
    data_dir = _data_dir(args)
    members = {name: found for name, found in _settings_files(args).items() if os.path.exists(found)}
    with _private(), replacing(path) as file, _scratch(path) as folder:
        begun = datetime.now(UTC).isoformat(timespec="seconds")
        members[archive.CONTENT] = os.path.join(folder, archive.CONTENT)
        figures = save(data_dir, members[archive.CONTENT], path)
        about = {"reed": __version__, "begun": begun, **figures._asdict()}
        written = archive.write(file, path, members, about)
    if path != "-":
        counts = plurals(figures._asdict(), "snippet", "type", "bond", "event")
        value = {"file": path, "bytes": written, "data_dir": data_dir, **about, "files": list(members)}
        output.show(value, f"{counts} of {data_dir} in {path}, {size(written)}", [[path, written]])


@contextmanager
def _private() -> Iterator[None]:
    """Files as in the data folder: the content is its user's."""
    umask = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(umask)


def _data_dir(args: Args) -> str:
    """Of the running core, else of the settings. Raises ReedError for PostgreSQL."""
    if not args.has("--data-dir"):
        with suppress(CoreNotRunning, PermissionDenied), connect(args) as core:
            store = core.stats()["store"]
            if "is_connected" in store:
                raise _no_sqlite(str(store["path"]))
            return os.path.dirname(str(store["path"]))
    settings = config(args)
    if settings.store.kind != "sqlite" and not args.has("--data-dir"):
        raise _no_sqlite(str(settings.store))
    return os.fspath(settings.data_dir)


def _no_sqlite(store: str) -> ReedError:
    return ReedError(
        f"the store is {store}: PostgreSQL has backups of its own",
        hint="use pg_dump, or while no core runs: reed store copy postgres:… sqlite:FOLDER",
    )


def _settings_files(args: Args) -> dict[str, str]:
    if not args.has("--settings"):
        return {}
    from reed.config import config_file

    found = {archive.REGISTRY: os.fspath(config(args).registry)}
    file = config_file(args.text("--config"), os.environ)
    return {archive.SETTINGS: file, **found} if file else found


@contextmanager
def _scratch(path: str) -> Iterator[str]:
    """A folder beside the archive. One that a killed command left behind is removed."""
    above = os.path.dirname(path) or "."
    if path == "-" or (os.path.exists(path) and not os.path.isfile(path)):
        above = tempfile.gettempdir()
    for name in os.listdir(above):
        if name.startswith(_CREATING):
            _remove_if_left(os.path.join(above, name))
    folder = tempfile.mkdtemp(prefix=_CREATING, dir=above)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _remove_if_left(folder: str) -> None:
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_uid == os.geteuid():
            shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:  # a command that runs
        pass
    finally:
        os.close(lock)


def restore(args: Args, output: Output) -> None:
    path, made = args.arg("FILE"), list[str]()
    try:
        settings = _restore_settings(args, path, made) if args.has("--settings") else config(args)
        value = _restore(args, path, settings)
    except BaseException:
        for each in made:
            os.unlink(each)
        raise
    counts = plurals(value, "snippet", "type", "bond", "event")
    text = f"{counts} of the backup of {value['begun']} restored into {value['data_dir']}"
    if value["replaced"]:
        text += f"\nthe old content is in {value['replaced']}; delete it when you do not need it"
    value["made"] = made
    text += "".join(f"\ncreated {each}" for each in made)
    output.show(value, f"{text}\nnext: reed start", [[value["data_dir"], value["replaced"]]])


def _restore(args: Args, path: str, settings: Config) -> dict[str, Any]:
    from reed.store.sqlite.backup import has_store, install, locked, verify

    if settings.store.kind != "sqlite" and not args.has("--data-dir"):
        raise ReedError(
            f"the store is {settings.store}, and a backup is a SQLite file",
            hint="restore it with --data-dir FOLDER, then: reed store copy sqlite:FOLDER postgres:…",
        )
    folder = os.fspath(settings.data_dir)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with locked(folder):
        if has_store(folder) and not args.has("--replace"):
            raise ReedError(
                f"{folder} has content", hint="--data-dir names another folder; --replace moves the old content aside"
            )
        for name in os.listdir(folder):  # left by a killed command, as this one has the lock
            if name.startswith(_RESTORING):
                shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
        scratch = tempfile.mkdtemp(prefix=_RESTORING, dir=folder)
        try:
            with errors_of(folder):
                manifest = archive.extract(path, scratch)
            content = os.path.join(scratch, archive.CONTENT)
            figures = verify(content, path)
            replaced = install(folder, content)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return {"data_dir": folder, "replaced": replaced, "begun": manifest.get("begun", ""), **figures._asdict()}


def _restore_settings(args: Args, path: str, made: list[str]) -> Config:
    """Before the content, since reed.yaml may say where that goes. Files that exist stay unchanged."""
    from reed.config import config_file

    file = config_file(args.text("--config"), {}) or os.path.abspath(archive.SETTINGS)
    _make(file, archive.read_small(path, archive.SETTINGS), made)
    settings = config(args)
    _make(os.fspath(settings.registry), archive.read_small(path, archive.REGISTRY), made)
    return settings


def _make(path: str, content: bytes | None, made: list[str]) -> None:
    if content is not None and not os.path.lexists(path):
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
        made.append(path)


SUBCOMMANDS = {
    "backup create": Subcommand(
        create,
        "FILE",
        "Write types, snippets, bonds and waiting events to one file, while the core runs or not",
        (
            Option("--data-dir", "DIR", "of this data folder, not of the running core"),
            Option("--settings", help="with reed.yaml and plugin-registry.csv, if they exist"),
            CONFIG,
        ),
        """
The backup has every write that was acknowledged before the command began, and nothing that was not committed. FILE
appears when it is complete; its name decides whether it is compressed (.gz, .tgz). - is standard output.

  reed backup create /backups/site-$(date +%F).tar.gz
  reed backup create - | ssh elsewhere 'cat > site.tar'""",
    ),
    "backup restore": Subcommand(
        restore,
        "FILE",
        "Restore a backup into an empty data folder",
        (
            Option("--replace", help="move the content that is there aside; the core must not run"),
            Option("--data-dir", "DIR", "the data folder (REED_DATA_DIR; ./data)"),
            Option("--settings", help="create reed.yaml and plugin-registry.csv too, if they do not exist"),
            CONFIG,
        ),
        """
The archive and the store in it are checked before anything changes. The core makes the search index again.

  reed stop && reed backup restore site.tar.gz --replace && reed start""",
    ),
}
