"""The embedded store: two SQLite files, content and search index (store.md).

store          SqliteStore: parts, reads, writes              transaction    of a turn, and its callers
database       content.db: tables, migrations, errors         file_guard     its files must stay at their path
snippets, types, bonds, outbox, field_indexes   the tables    lookup         reads snippets
search_index   what is to be indexed                          index_file     content-search.db
scheduler      work between two turns                         wal            checkpoints
change_log     a row for each transaction, for watchers
bond_queue     checks of new bonds, in order                  files          names of the files; layout, removal, fsync

In commands, beside a core or without one:
backup         copies of content.db, and their way back    inspect    for `reed doctor`
side           one side of `reed store copy`

In a worker's process:
source         opens the files         indexing     writes the search index
reading        long reads, which use find, tree, search, bond_graph
"""

from reed.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
