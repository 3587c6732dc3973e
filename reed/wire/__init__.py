"""The wire protocol without any I/O (protocol.md). What cannot be decoded raises `errors.Malformed`.

commands     the command table                 codes        flags, signals, message types
structs      the fixed structs                 frames       header and payload, the receive buffer
common, requests, snippets, watch, schema, registry, search, plugins     a record for each payload
monitor      the stream of `reed monitor`      decode       its frames for people
jsonl        the lines of an export            exact_json   JSON whose numbers keep their digits
identifiers, strict_json, json_spans           names, JSON, the places of values in JSON
"""
