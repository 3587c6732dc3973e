"""LAYER 2: core.sock and the plugins' sockets.

runtime_folder   the folder with sockets, FIFOs and pid files, and its lock
listener         accepts connections on a Unix socket
client_listener  core.sock: the connections of people's programs
connect_rate     how often a plugin or user may connect
identity         who is at the other end of a socket, and what that allows
connection       frames in, calls out in order, replies in the same order
draining         rejects frames while the core restarts
calls            a call: a request with its reply to come; who calls
quotas           how much of the core one user or plugin may have at a time
router           which command goes to which handler, and who may
response_cache   encoded responses by request bytes
commands/        the handlers: snippets, schema, registry, search, plugins, plugin_send
plugin_endpoint  the core's side of each plugin: its socket, its connections, its actions
registration     what follows from a process's registration and its row
call_queue       calls that a plugin holds, and those that wait for it
signals          the signals between people and plugins
plugin_hooks     filters and events joined
filters, filter_answer   plugins that see a write before it is done
events, event_chains     plugins that get a write after it; loops of events
stats            what SYSTEM_STATS tells
monitor          monitor.sock: every frame as it passes
"""
