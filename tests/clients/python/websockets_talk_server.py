"""A server of `websockets`, which compresses by itself. It sends messages back in the fragments that it got them in, and does
as it is told by these text messages: `close CODE REASON` closes with them, `ping PAYLOAD` pings and answers
`ponged PAYLOAD`. Of a connection that was closed it tells all others: `closed CODE REASON`."""

import asyncio

from websockets.asyncio.server import broadcast, serve
from websockets.exceptions import ConnectionClosed

sockets = set()


async def obey(socket, text):
    order, _, rest = text.partition(" ")
    if order == "close":
        code, _, reason = rest.partition(" ")
        await socket.close(int(code), reason)
    elif order == "ping":
        await (await socket.ping(rest))
        await socket.send(f"ponged {rest}")
    else:
        return False
    return True


async def talk(socket):
    sockets.add(socket)
    try:
        while True:
            fragments = [fragment async for fragment in socket.recv_streaming()]
            if len(fragments) > 1:
                await socket.send(fragments)
            elif not (isinstance(fragments[0], str) and await obey(socket, fragments[0])):
                await socket.send(fragments[0])
    except ConnectionClosed:
        await socket.wait_closed()
    finally:
        sockets.remove(socket)
        broadcast(sockets, f"closed {socket.close_code} {socket.close_reason}")


async def main():
    async with serve(talk, "127.0.0.1", 0, max_size=None) as server:
        print(f"listening on port {server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


asyncio.run(main())
