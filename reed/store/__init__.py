"""The content: snippets, bonds, types, search and events. Here is what every store shares; sqlite/ is the embedded one,
postgres/ is for several cores.

base         the contract of a store              setting       the setting `store`
factory      opens the store of the setting       context       what a core gives its store
snippets     checks of a write, errors, pages         ids           UUID version 7 and sequence numbers
types        definitions and JSON Schema              merge_patch   RFC 7396 on text
restoring    rules of SNIPPET_RESTORE                 fitting       which snippets do not fit their type
field_values equality of JSON values                  record_cache  LRU by bytes
query        search terms                             folding       Unicode folding for search
search_text  the texts to index                       excerpt       the text around a hit
"""
