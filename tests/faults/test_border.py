"""Invalid data in a FIFO, odd ways to end a handler, and statuses out of range: only the culprit is affected."""

from __future__ import annotations

import pytest

from reed.errors import CallError

# A neighbour without an SDK: it writes until the pipe has been full for a second.
NEIGHBOUR = r"""
import select
def do(argument):
    fifo = os.path.join(os.path.dirname(os.path.dirname(os.environ["REED_SOCKET"])), "fifos", NAME + "→victim")
    names = NAME.encode().ljust(32, b"\0") + b"victim".ljust(32, b"\0")
    whole = b"GMLP\x01\x01" + names + struct.pack("<QI", 7, 2) + b"{}"
    data = {"letters": b"G" * 65536, "magics": b"GMLP" * 16384, "headers": whole[:82] * 799, "repeats": whole * 780}
    data = data[argument]
    fd, written, rest = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK), 0, b""
    while written < 48 << 20 and select.select([], [fd], [], 1.0)[1]:
        rest = rest or data
        size = os.write(fd, rest)
        rest, written = rest[size:], written + size
    os.close(fd)
    return written
main(do)
"""

VICTIM = """
local heard = 0
plugin.register_message_handler(1, function() heard = heard + 1 end)
plugin.action("do", function() return { alive = true, heard = heard } end)
"""
MANIFEST = "limits: {cpu: 0.2}\nactions: {do: {command_id: 1}}\n"


def test_invalid_data_in_a_fifo_cuts_off_only_its_writer(ground) -> None:
    ground.config = "sandbox: off\n"  # the native plugins are Python
    kinds = ("letters", "magics", "headers", "repeats")
    for number, _ in enumerate(kinds):
        ground.native(f"writer{number}", NEIGHBOUR)
    ground.lua("victim", VICTIM, MANIFEST)
    client = ground.start()
    before = ground.plugin_pid(client, "victim")
    with ground.fault("invalid data in a FIFO", "the writer is cut off, the reader lives") as fault:
        for number, kind in enumerate(kinds):
            written = client.plugin_send(f"writer{number}", "do", kind).body
            assert int(bytes(written)) < 40 << 20, "the reader still reads it"
            assert b'"alive":true' in bytes(client.plugin_send("victim", "do", {}).body), kind
            fault.injected()
    assert ground.plugin_pid(client, "victim") == before
    assert ground.state(client, "victim") == "ready"


ENDINGS = (
    "failure.status = 99999; error(failure, 0)",
    "failure.status = {}; error(failure, 0)",
    "failure.status = 404.5; error(failure, 0)",
    "failure.status = 0/0; error(failure, 0)",
    "failure.message = setmetatable({}, { __tostring = error }); error(failure, 0)",
    "kept = coroutine.running(); coroutine.yield()",
    "coroutine.yield(select(2, coroutine.resume(kept)), {}, {})",
    "io.list({ decode = function() end })",
    "reed.snippet.get(setmetatable({}, { __index = error }))",
    "json.encode = error; json.decode = error; error(failure, 0)",
)


def test_no_ending_of_a_handler_ends_its_process(ground) -> None:
    code = "local decode = json.decode\nplugin.action('do', function(text) return assert(load(decode(text)))() end)\n"
    ground.lua("odd", code, MANIFEST)
    client = ground.start()
    before = ground.plugin_pid(client, "odd")
    with ground.fault("a handler that ends in an odd way", "only that call fails") as fault:
        for ending in ENDINGS:
            body = f"reed = require 'reed'\nlocal _, failure = pcall(reed.fail, 404, 'x')\n{ending}"
            with pytest.raises(CallError) as error:
                client.plugin_send("odd", "do", body)
            assert error.value.status in {404, 500}, ending
            assert client.plugin_send("odd", "do", "return { alive = true }").body == b'{"alive":true}'
            fault.injected()
    assert ground.plugin_pid(client, "odd") == before


STATUSES = (0, 99, 600, 65535)


def test_a_status_out_of_range_does_not_reach_the_caller(ground) -> None:
    lines = ("def odd(status):", "    send(1, struct.pack('<H', status) + b'1', 8)", "while True:")
    loop = ("    command, flags, payload = receive()", "    if command == 1: odd(json.loads(payload))")
    more = ("    elif payload[0] == 0x10: sys.exit(0)", "    else: ready()")
    ground.config = "sandbox: off\n"
    ground.native("odd", "\n".join((*lines, *loop, *more)))
    client = ground.start()
    with ground.fault("a plugin's status out of range", "502 that names the plugin") as fault:
        for status in STATUSES:
            with pytest.raises(CallError) as error:
                client.plugin_send("odd", "do", status)
            assert error.value.status == 502
            assert "odd" in str(error.value)
            assert client.plugin_send("odd", "do", 299).status == 299, "the next answer is rejected too"
            fault.injected()
