"""PostgreSQL as the store of several cores. Imported only when the setting `store` names it; needs psycopg.

tables   the tables, their migrations, and the privileges of a core's role
"""

from __future__ import annotations

from reed.errors import ReedError
from reed.store.base import Store
from reed.store.context import StoreContext
from reed.store.setting import StoreSetting


def open_postgres(setting: StoreSetting, context: StoreContext) -> Store:
    raise ReedError(f"store {setting}: this version cannot use it yet", hint=f"content stays in {context.data_dir}")
