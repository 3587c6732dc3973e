"""BYTES: the wire protocol without any I/O (reedcms-10.md#message-format; protocol.md).

codes    ids, flags, signals, permissions           frames       header + payload, and the receive buffer
structs  every fixed struct, and its text fields    identifiers  what a name may look like
common, snippets, schema, registry, search, plugins: a record for each payload
strict_json  RFC 8259 and nothing beside it         monitor       a frame as `reed monitor` has it

Nothing here opens a socket or a file or reads a clock. What cannot be decoded raises `errors.Malformed`.
"""
