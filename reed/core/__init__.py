"""LAYER 2: core.sock and the plugins' sockets.

runtime_folder  the folder with sockets, FIFOs and pid files, and its lock
server          accepts connections on a Unix socket
core_socket     core.sock: the connections of people's programs
identity        who is at the other end of a socket, and what that allows
connection      frames in, calls out in order, replies in the same order
refusing        where its frames go when the core makes room for another
calls           a call: a request with its reply to come; who calls
quotas          how much of the core one user or plugin may have at a time
router          which command goes to which handler, and who may
commands/       the handlers: snippets, schema, registry, search, plugins, sending
links           the core's side of each plugin: its socket, its connections, its actions
registration    what follows from a process's registration and its row
plugin_calls    the calls that a plugin holds, and those that wait for it
signals         the signals between people and plugins
filters, filter_answer   plugins that see a write before it is done
events          plugins that are told of a write after it
handlers        filters and events joined
stats           what SYSTEM_STATS tells
monitor         monitor.sock: every frame as it passes
"""
