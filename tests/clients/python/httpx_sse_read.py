"""The `httpx-sse` package's quick start: prints the first events of a stream, one a line."""

import ssl
import sys

import httpx
from httpx_sse import connect_sse

url, authority, count = sys.argv[1:]
trust = ssl.create_default_context(cafile=authority)
with httpx.Client(verify=trust) as client:
    with connect_sse(client, "GET", url) as source:
        source.response.raise_for_status()
        left = int(count)
        for event in source.iter_sse():
            # httpx-sse dispatches blocks without data too, against the book: the prelude's `retry:` is one.
            if event.event != "message" or not event.data:
                continue
            print(event.id or "-", event.data, flush=True)
            left -= 1
            if left == 0:
                break
