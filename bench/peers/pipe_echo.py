"""An echo by multiprocessing.connection: `pipe_echo.py SOCKET`."""

import sys
from multiprocessing.connection import Listener

with Listener(sys.argv[1], "AF_UNIX") as listener:
    while True:
        with listener.accept() as connection:
            try:
                while True:
                    connection.send_bytes(connection.recv_bytes())
            except (EOFError, ConnectionError):
                pass
