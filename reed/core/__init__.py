"""LAYER 2: core.sock and the plugins' sockets.

runtime_folder   the folder with sockets, FIFOs and pid files, and its lock
listener         accepts connections on a Unix socket; the kernel's credentials of a peer
client_listener  core.sock, where clients connect
connect_rate     rate limit for new connections
identity         who the peer of a socket is, and its permissions
connection       frames in, calls, replies in order; its states
calls            a call: one request and its reply
quotas           what one user or plugin may hold of the core at a time
router           which handler serves which command, and who may call it
response_cache   encoded responses by request bytes
commands/        the handlers of all commands
plugin_endpoint  the core's side of a plugin: its socket, connections, actions, registration
call_queue       calls to a plugin: waiting and in flight
signals          signals between people and plugins
plugin_hooks     filters and events
filters          plugins that check or change a snippet before it is written
filter_result    what a filter answered
json_checks      JSON of callers and plugins: a long text is checked in a worker
events           delivery of changes to plugins after the commit
event_chains     slows down plugins that react to each other's events
stats            the figures of SYSTEM_STATS
monitor          monitor.sock: streams every frame
"""
