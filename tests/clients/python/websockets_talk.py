"""A client of `websockets` that talks with one of the talk servers: compressed and fragmented messages, pings of both sides,
and closes of both sides. Arguments: URL, file of the authority."""

import asyncio
import os
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

CLOSES = [(1000, "done"), (1000, ""), (3000, "schöne Grüße"), (4001, "x" * 123)]


async def echoes(socket):
    for message in (b"", b"compressible" * 87_382, os.urandom(1 << 20)):
        await socket.send(message)
        assert await socket.recv() == message
    parts = ["from ", "several ", "frámes"]
    await socket.send(parts)
    fragments = [fragment async for fragment in socket.recv_streaming()]
    assert "".join(fragments) == "".join(parts)
    return [fragment for fragment in fragments if fragment] == parts


async def pings(socket):
    assert await (await socket.ping("from the client")) >= 0
    await socket.send("ping from the server")
    assert await socket.recv() == "ponged from the server"


async def closes(opened):
    """Each code and reason once from either side. What the server was told it tells the watcher."""
    async with opened() as watcher:
        for code, reason in CLOSES:
            leaving = await opened()
            await leaving.close(code, reason)
            assert await watcher.recv() == f"closed {code} {reason}"

            left = await opened()
            await left.send(f"close {code} {reason}")
            try:
                await left.recv()
            except ConnectionClosed as closed:
                assert (closed.rcvd.code, closed.rcvd.reason) == (code, reason)
            assert (left.close_code, left.close_reason) == (code, reason)
            await watcher.recv()


async def main(url, authority):
    trust = ssl.create_default_context(cafile=authority)

    def opened(compression="deflate"):
        return connect(url, ssl=trust, max_size=None, compression=compression)

    kept = []
    for compression in ("deflate", None):
        async with opened(compression) as socket:
            assert len(socket.protocol.extensions) == (1 if compression else 0)
            kept.append(await echoes(socket))
            await pings(socket)
    await closes(opened)
    print("fragments kept" if all(kept) else "fragments joined")
    print("talked")


asyncio.run(main(*sys.argv[1:]))
