"""The `websockets` package's quick start, against the URL and the authority given: echoes text and a binary megabyte."""

import asyncio
import ssl
import sys

from websockets.asyncio.client import connect


async def main(url, authority):
    trust = ssl.create_default_context(cafile=authority)
    async with connect(url, ssl=trust, max_size=None) as websocket:
        await websocket.send("Hello world!")
        assert await websocket.recv() == "Hello world!"
        # Compressed by permessage-deflate, which `websockets` offers by itself, if the server agrees.
        large = bytes(range(256)) * 4096
        await websocket.send(large)
        assert await websocket.recv() == large
        await (await websocket.ping())
        print("extensions:", len(websocket.protocol.extensions))
    print("echoed")


asyncio.run(main(*sys.argv[1:]))
