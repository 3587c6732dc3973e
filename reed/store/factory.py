"""Opens the store of the setting. Each kind is imported only when it is used."""

from __future__ import annotations

from reed.errors import ReedError
from reed.store.base import Store
from reed.store.context import StoreContext
from reed.store.setting import StoreSetting

_DRIVER = "psycopg"  # of PostgreSQL


def open_store(setting: StoreSetting, context: StoreContext) -> Store:
    """Raises ReedError."""
    check_driver(setting)
    return _open_postgres(setting, context) if setting.kind == "postgres" else _open_sqlite(context)


def check_driver(setting: StoreSetting) -> None:
    """Raises ReedError if the package that this kind needs is not installed."""
    if setting.kind != "postgres":
        return
    from importlib.util import find_spec

    if find_spec(_DRIVER) is None:
        raise ReedError(
            f"store {setting}: the package {_DRIVER} is not installed", hint="pip install 'reed-cms[postgres]'"
        )


def _open_sqlite(context: StoreContext) -> Store:
    from reed.store.sqlite.files import FILE
    from reed.store.sqlite.store import HANDLERS, INDEXER_HANDLERS, SqliteStore

    return SqliteStore(
        context.data_dir / FILE,
        max_events=context.max_events,
        max_changes=context.max_changes,
        on_due=context.loop.request_commit,
        on_news=context.on_news,
        warn=context.warn,
        workers=context.open_workers(HANDLERS, context.max_workers),
        indexer=context.open_workers(INDEXER_HANDLERS, 1, "indexer"),
        call_later=context.loop.call_later,
        deadlines=context.deadlines,
    )


def _open_postgres(setting: StoreSetting, context: StoreContext) -> Store:
    from reed.store.postgres import open_postgres

    return open_postgres(setting, context)
