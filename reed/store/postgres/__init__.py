"""The store that several cores share: PostgreSQL (scaling.md, internals/postgres.md). Imported only when the setting
`store` names it; needs psycopg.

store          PostgresStore: the contract            reads          its reads
snippet_writes, restores, writes   its writes          checks         what they share
operation      one write, from its beginning to its answer, again if another core was first
parts          what the store is made of
connection     libpq in the event loop                server         its host and address
statements     the SQL of the connections that write and read
log_statements the SQL of the third, which follows the log
writer         the transaction of a turn, and what becomes of one whose answer was lost
reader         short reads                            long_reads     reads that a worker makes
memory         records, never older than promised; types and their revisions
follower       the log of all cores                   outbox          events, and who delivers them
change_log     the same log, as watchers read it      subscriber     a plugin that events are delivered to
backlog        how many events wait for one
tables         tables and migrations                  session         blocking connections, of starts, commands, jobs
values         parameters and rows                    side            one side of `reed store copy`; `reed store status`

In a worker's process:
reading        long reads and searches                defining        types, and bonds that need a closer look
field_rows     rows for fields that become indexed
indexing       the search index                       vectors         its words
trimming       what is deleted from the log; `trimmer` is the core's side, as `search_index` is of `indexing`
"""
