"""`reed store migrate|status|copy|check`: the store itself, without a core (guide/scaling.md).

A store is written as `sqlite:FOLDER`, a data folder, or as in the setting `store`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from reed.cli.options import config
from reed.cli.output import Output, flatten
from reed.cli.parse import CONFIG, Args, Option, Subcommand, UsageError
from reed.cli.progress import ProgressBar
from reed.figures import duration, plural, plurals, timestamp

if TYPE_CHECKING:
    from reed.store.copying import Copied, Side
    from reed.store.setting import StoreSetting

_MAX_DIFFERENCES = 1000  # printed


def migrate(args: Args, output: Output) -> None:
    setting, folder = _store(args.arg("STORE"), args)
    role = args.text("--grant")
    if setting.kind == "sqlite":
        if role:
            raise UsageError("--grant needs a PostgreSQL store", hint="SQLite has no roles")
        place = f"sqlite:{folder}"
        before, after = _migrate_sqlite(folder)
    else:
        from reed.store.postgres import session, tables

        with session.connect(setting) as connection:
            place = session.place_of(connection)
            before, after = tables.migrate(connection, place)
            if role:
                tables.grant(connection, role, place)
    what = f"tables made, version {after}" if not before else f"version {after}, as before"
    if 0 < before < after:
        what = f"migrated from version {before} to {after}"
    granted = f"; {role} may read and write their rows" if role else ""
    output.done(f"{place}: {what}{granted}", {"store": place, "before": before, "after": after, "granted": role})


def _migrate_sqlite(folder: str) -> tuple[int, int]:
    from reed.store.sqlite.side import SqliteSide, status

    before = status(folder)["schema"]
    SqliteSide(folder).close()
    return before, status(folder)["schema"]


def show_status(args: Args, output: Output) -> None:
    setting, folder = _store(args.arg("STORE"), args)
    if setting.kind == "sqlite":
        from reed.store.sqlite.side import status as status_of_sqlite

        found = status_of_sqlite(folder)
    else:
        from reed.store.postgres.side import status as status_of_postgres

        found = status_of_postgres(setting)
    output.figures(found, _describe(found))


def _describe(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if found["kind"] == "sqlite":
        yield "store", f"SQLite, {found['path']}"
    else:
        yield "store", f"PostgreSQL {found['server']}, host {found['host']}, database {found['database']}"
    known = "" if found["schema"] == found["schema_known"] else f"; this reed has {found['schema_known']}"
    yield "schema", f"version {found['schema']}{known}"
    content = plurals(found, "snippet", "type", "bond")
    yield "content", content + (f"; {found['unindexed']} not yet indexed" if found.get("unindexed") else "")
    yield "log", plural(found["log"], "event" if found["kind"] == "sqlite" else "line")
    for each in found["subscribers"]:
        leader = f", delivered by {each['leader']}" if each.get("leader") else ""
        lost = f", {each['lost']} lost" if each.get("lost") else ""
        yield "subscriber", f"{each['name']}: {plural(each['waiting'], 'event')} waiting{lost}{leader}"
    for each in found["cores"]:
        state = "running" if each["running"] else f"not seen for {duration(each['seen_s'])}"
        yield (
            "core",
            f"{each['name']}: {state}, reed {each['version']}, started {timestamp(int(each['started'] * 1e6))}",
        )


def copy(args: Args, output: Output) -> None:
    with _both(args, create=True) as (source, target):
        from reed.store.copying import copy as copy_all

        counts = source.counts()
        with ProgressBar(output, "copying", counts.snippets + counts.bonds) as bar:
            copied = copy_all(
                source, target, overwrite=args.has("--overwrite"), progress=lambda done: bar.update(done, done)
            )
        value = {"written": copied.written, "deleted": copied.deleted, "unchanged": copied.unchanged}
        output.show(value, _summary(copied, source, target), flatten(value))


def _summary(copied: Copied, source: Side, target: Side) -> str:
    written = plurals(copied.written, "snippet", "type", "bond", "event")
    kept = f"; {plural(copied.unchanged['snippets'], 'snippet')} already there" if copied.unchanged["snippets"] else ""
    gone = f"; {plural(copied.deleted['snippets'], 'snippet')} deleted" if copied.deleted["snippets"] else ""
    return f"{written} copied from {source.place} to {target.place}{kept}{gone}"


def check(args: Args, output: Output) -> int:
    with _both(args, create=False) as (source, target):
        from reed.store.copying import differences

        counts = source.counts()
        found: list[str] = []
        total = 0
        with ProgressBar(output, "comparing", counts.snippets + counts.bonds) as bar:
            for line in differences(source, target, lambda done: bar.update(done, done)):
                total += 1
                found += [line] if len(found) < _MAX_DIFFERENCES else []
        equal = plurals(counts._asdict(), "snippet", "type", "bond")
        more = [f"… and {total - len(found)} more"] if total > len(found) else []
        text = "\n".join([*found, *more, plural(total, "difference")]) if found else f"equal: {equal}"
        output.show({"equal": not found, "total": total, "differences": found}, text, [[line] for line in found])
    return 1 if found else 0


@contextmanager
def _both(args: Args, *, create: bool) -> Iterator[tuple[Side, Side]]:
    source, target = _store(args.arg("FROM"), args), _store(args.arg("TO"), args)
    if source == target:
        raise UsageError("FROM and TO are the same store")
    with ExitStack() as opened:
        sides: list[Side] = []
        for (setting, folder), may_create in ((source, False), (target, create)):
            side = _open(setting, folder, create=may_create)
            opened.callback(side.close)
            sides.append(side)
        yield sides[0], sides[1]


def _open(setting: StoreSetting, folder: str, *, create: bool) -> Side:
    if setting.kind == "sqlite":
        from reed.store.sqlite.side import SqliteSide

        return SqliteSide(folder, create=create)
    from reed.store.postgres.side import PostgresSide

    return PostgresSide(setting, create=create)


def _store(text: str, args: Args) -> tuple[StoreSetting, str]:
    """The setting, and the data folder of SQLite."""
    from reed.store.factory import check_driver
    from reed.store.setting import SQLITE, parse

    kind, colon, folder = text.partition(":")
    if kind == "sqlite" and colon:
        if not folder:
            raise UsageError("sqlite: is without a folder", hint="expected sqlite:FOLDER, a data folder")
        return SQLITE, os.path.abspath(folder)
    settings = config(args)
    setting = parse(text) if text else settings.store
    check_driver(setting)
    return setting, os.fspath(settings.data_dir)


_PLACES = """
A store is sqlite:FOLDER (a data folder), sqlite (that of the settings), or PostgreSQL as in the setting `store`:
postgres:service=NAME, postgres:KEYWORD=VALUE …, postgresql://…, without a password.
"""
SUBCOMMANDS = {
    "store migrate": Subcommand(
        migrate,
        "[STORE]",
        "Create the tables of a store, or bring them up to date",
        (Option("--grant", "ROLE", "let this role of PostgreSQL read and write their rows, as a core needs"), CONFIG),
        f"""
Unless STORE is given it is the store of the settings. A core does the same at its start if its role may.
{_PLACES}
  reed store migrate 'postgres:service=reed_owner' --grant reed_core""",
    ),
    "store status": Subcommand(
        show_status, "[STORE]", "Print figures of a store: content, log, subscribers, cores", (CONFIG,), _PLACES
    ),
    "store copy": Subcommand(
        copy,
        "FROM TO",
        "Copy a store into another one while no core runs",
        (Option("--overwrite", help="make TO equal to FROM: replace and delete what differs"), CONFIG),
        f"""
Ids, versions, times, bonds, types, indexed fields and waiting events stay. TO must be empty or hold a part of FROM, so
a copy that was interrupted can be run again. The search index is made again by the core.
{_PLACES}
  reed store copy sqlite:data postgres:service=reed""",
    ),
    "store check": Subcommand(
        check,
        "FROM TO",
        "Compare two stores while no core runs, and print what differs; the exit status is then 1",
        (CONFIG,),
        _PLACES,
    ),
}
