"""Echo server on asyncio's streams: echo_asyncio.py read|readuntil [--uvloop]"""

import asyncio
import sys


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def echo_lines(reader, writer):
    try:
        while True:
            writer.write(await reader.readuntil(b"\n"))
            await writer.drain()
    except asyncio.IncompleteReadError:
        writer.close()


async def main(handler):
    server = await asyncio.start_server(handler, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if "--uvloop" in sys.argv:
    import uvloop

    uvloop.install()
asyncio.run(main(echo_lines if "readuntil" in sys.argv else echo))
