"""BYTES: the wire protocol without any I/O (protocol.md, reedcms-10.md#message-format).

commands     the command table                          codes        flags, signals, message types
structs      every fixed struct and its text fields     frames       header and payload, the receive buffer
identifiers  what a name may look like                  strict_json  RFC 8259 and nothing else
common, requests, snippets, schema, registry, search, plugins     a record for each payload
monitor      a frame in the stream of `reed monitor`    jsonl        the lines of an export
json_spans   where the values of a JSON text are

Nothing here opens a socket or a file, or reads a clock. What cannot be decoded raises `errors.Malformed`.
"""
