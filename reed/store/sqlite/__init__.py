"""The embedded store: one SQLite file with WAL and FTS5, all writes through one connection (store.md).

store          SqliteStore: the contract
transaction    the transaction of a turn, and the callers that wait for it
database       the file: opening, tables, migrations, errors        file_guard   its files must stay at their path
snippets, types, bonds, outbox    the tables of these names         tree         bonds as JSON
field_indexes  indexes of fields, unique fields                     find         snippets by the values of fields
search_index   keeps the full-text index up to date                 search       queries it
jobs           long reads in slices, on snapshots
wal            checkpoint policy; checkpointer: the process for it
scheduler      which of all this runs between two turns
"""

from reed.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
