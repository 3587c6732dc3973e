"""WAITING: the event loop of the core. The only room that imports selectors.

loop    the turn, written once in order      timers  what is due when
stream  a non-blocking socket with an output queue      epoll   what is ready, as the kernel tells it
"""
