"""WAITING: the core's event loop. Only this room imports selectors.

loop    the turn and its order               timers  deadlines
stream  a non-blocking socket with an output queue
"""
