"""The embedded store: one SQLite file (WAL, FTS5), the same promises as every store (`reed.store.base`).

    store     SqliteStore: joins the parts below, one method for each operation
    database  the file: opening it safely, its tables and their migrations, what an SQLite error means
    changes   writes in which several of these have a share
    transaction  of a turn, and the writes that wait for it
    snippets  create, update, delete, get, page      cache    records kept in memory
    types     definitions and what they check        ids      UUID version 7
    restoring snippets as they once were             fitting  which contents do not fit a type
    bonds     parent, child, weight, path            merge_patch  RFC 7396
    tree      bonds as JSON                          jobs     long reads, in slices
    outbox    changes that others are to be told of  wal      checkpoint policy: SQLite itself, or a process of
                                                     its own (checkpointer)
    fields    indexes of fields, and unique ones     find     snippets by the values of fields; equality  of those
    index     keeps the search index up to date      search   words in, hits out; excerpt: the words around a hit
    scheduler which of all this goes on between two turns

All writes go through one connection; long reads have connections, and so snapshots, of their own.
"""

from reed.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
