"""The content. What both stores share is here; sqlite/ is the embedded one, postgres/ the one for several cores.

base           the contract of a store                 context       what a core gives its store
setting        the setting `store`                     conninfo      libpq's connection strings
factory        opens the store of the setting
snippets       errors of a write, pages                ids           UUID version 7 and sequence numbers
types          definitions                             schema        JSON Schema
schema_cost    loop or worker?                         contents      checks of a content; which stored ones do not fit
merge_patch    RFC 7396 on text
restoring      rules of SNIPPET_RESTORE                tree_text     bonds as JSON
bonds          rules of bonds                          deleted       what an event carries of a deleted snippet
field_values   equality of JSON values                 record_cache  LRU by bytes
query          search terms                            folding       Unicode folding for search
search_text    the texts to index                      excerpt       the text around a hit
workers        jobs of a store                         copying       one store to another
changes        the log of changes: positions, cursors  schedules     the contract of the table of schedules
"""
