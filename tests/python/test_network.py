"""A Python plugin's network: what plugin.yaml asks for and reed.yaml allows, as for a native plugin."""

from __future__ import annotations

import json
import socket
import threading

from reed.sandbox import landlock
from reed.sandbox.kernel import Kernel
from reed.testing.site import Core
from tests.python.site import start, write_plugin

CODE = """
import socket


@plugin.action("connect")
def connect(payload, data):
    found = []
    for port in data:
        try:
            with socket.create_connection(("127.0.0.1", port), 10) as connected:
                found.append(connected.recv(5).decode())
        except OSError as error:
            found.append(error.strerror)
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    except OSError as error:
        found.append(error.strerror)
    return found
"""


def test_a_python_plugin_has_only_the_ports_that_are_granted(site: Core) -> None:
    manifest = "actions: {connect: {command_id: 1}}\nnetwork: to test it\n"
    write_plugin(site.plugins / "granted", CODE, manifest)
    write_plugin(site.plugins / "asking", CODE, manifest)
    with socket.create_server(("127.0.0.1", 0)) as open_port, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [open_port.getsockname()[1], other.getsockname()[1]]
        site.config.write_text(f"plugins: {{granted: {{network: [{ports[0]}]}}}}\n")
        with start(site) as client:
            client.plugin_start("granted")
            client.plugin_start("asking")
            refused = ["Operation not permitted"] * 3
            assert json.loads(client.plugin_send("asking", "connect", ports).body) == refused
            if landlock.abi(Kernel()) < 4:
                return  # this kernel cannot restrict ports
            open_port.settimeout(30)
            thread = threading.Thread(target=lambda: open_port.accept()[0].sendall(b"hello"))
            thread.start()
            found = json.loads(client.plugin_send("granted", "connect", ports).body)
            thread.join()
            assert found == ["hello", "Permission denied", "Operation not permitted"]
