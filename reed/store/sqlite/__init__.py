"""The embedded store: two SQLite files with WAL, content and search index (store.md).

store          SqliteStore: the contract
transaction    the transaction of a turn, and the callers that wait for it
database       content.db: opening, tables, migrations, errors      file_guard   its files must stay at their path
lookup         snippets, read through a connection                  snippets, types, bonds, outbox   the writes
field_indexes  indexes of fields, unique fields
search_index   what is to be indexed, and who waits for it          wal          when the log is copied into the file
scheduler      what the loop does between two turns                 bond_queue   new bonds: their checks, in order

In a worker's process:
source         opens the files         reading      long reads, which use find, tree, search, bond_graph
indexing       writes the search index
"""

from reed.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
