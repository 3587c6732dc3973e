"""The embedded store: two SQLite files, content and search index (store.md).

store          SqliteStore: parts, reads, writes              transaction    of a turn, and its callers
database       content.db: tables, migrations, errors         file_guard     its files must stay at their path
snippets, types, bonds, outbox, field_indexes   the tables    lookup         reads snippets
search_index   what is to be indexed                          index_file     content-search.db
change_log     a row for each transaction, for watchers       wal            checkpoints
bond_queue     checks of new bonds, in order                  files          their names, and how a worker opens them

In commands, beside a core or without one:
backup         copies of content.db, and their way back    inspect    for `reed doctor`
side           one side of `reed store copy`

In a worker's process:
reading        long reads, which use find, graph, search      indexing       writes the search index
"""
