"""The content. What both stores share is here; sqlite/ is the embedded one, postgres/ the one for several cores.

base           the contract of a store                 context       what a core gives its store
setting        the setting `store`                     conninfo      libpq's connection strings
factory        opens the store of the setting
snippets       errors of a write, pages                ids           UUID version 7 and sequence numbers
types          definitions                             schema        JSON Schema
schema_cost    loop or worker?                         contents      checks of a content
merge_patch    RFC 7396 on text
restoring      rules of SNIPPET_RESTORE                fitting       which snippets do not fit their type
bonds          rules of bonds                          tree_text     bonds as JSON
field_values   equality of JSON values                 record_cache  LRU by bytes
query          search terms                            folding       Unicode folding for search
search_text    the texts to index                      excerpt       the text around a hit
workers        jobs of a store                         copying       one store to another
changes        the log of changes: positions, cursors
"""
