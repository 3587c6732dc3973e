"""An echo by pyzmq, ROUTER to DEALER: `zmq_echo.py SOCKET`."""

import sys

import zmq

sock = zmq.Context().socket(zmq.ROUTER)
sock.bind(f"ipc://{sys.argv[1]}")
while True:
    sock.send_multipart(sock.recv_multipart(copy=False), copy=False)
