"""LAYER 2: core.sock and the plugins' sockets.

runtime_folder  the folder with sockets, FIFOs and pid files, and its lock
server          accepts: core.sock, and one socket for each plugin
connection      frames in, calls out in order, replies in the same order
calls           a call: a request with its reply to come; who calls
router          which command goes to which handler, and who may
commands/       the handlers: snippets, schema, registry, search, plugins
links           the core's side of each plugin: its connections, the calls it holds and those that wait
signals         the signals between core and plugins
"""
