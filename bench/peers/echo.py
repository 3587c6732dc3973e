"""A bare echo on asyncio or uvloop: `echo.py KIND SOCKET`."""

import asyncio
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def main(path):
    server = await asyncio.get_running_loop().create_unix_server(Echo, path)
    await server.serve_forever()


if sys.argv[1] == "uvloop":
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
asyncio.run(main(sys.argv[2]))
