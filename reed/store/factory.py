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
    if setting.kind == "sqlite":
        from reed.store.sqlite.files import FILE
        from reed.store.sqlite.store import SqliteStore

        return SqliteStore(context.data_dir / FILE, context)
    from reed.store.postgres.store import PostgresStore

    return PostgresStore(setting, context)


def check_driver(setting: StoreSetting) -> None:
    """Raises ReedError if the package that this kind needs is not installed."""
    if setting.kind != "postgres":
        return
    from importlib.util import find_spec

    if find_spec(_DRIVER) is None:
        raise ReedError(
            f"store {setting}: the package {_DRIVER} is not installed", hint="pip install 'reed-cms[postgres]'"
        )
