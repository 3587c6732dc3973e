"""The sockets of the core, and what happens to a request.

runtime_folder, listener, connect_rate, identity       who connects, and where
connection, in_flight, calls, quotas, router           from a frame to its reply
response_cache, creates, forward                       the fast paths of SNIPPET_GET, SNIPPET_CREATE and PLUGIN_SEND
commands/                                              the handlers
plugin_endpoint, registration, call_queue, signals     a plugin's socket, its calls and signals
plugin_hooks, filters, events, event_chains            plugins that take part in writes
json_checks, filter_result                             JSON of callers and plugins
stats, monitor                                         what operators see
watchers                                               connections that get each change after its commit
"""
