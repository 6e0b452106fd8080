"""httpx-sse as its documentation has it for reconnections: follows a stream over its breaks by its last event id.

Prints the protocol of each connection and each event. Arguments: URL, file of the authority, the number of events, and
`1` or `2`: the version of HTTP.
"""

import ssl
import sys
import time

import httpx
from httpx_sse import connect_sse

url, authority, count, version = sys.argv[1:]
trust = ssl.create_default_context(cafile=authority)
last_event_id, pause, left = "", 0.0, int(count)
with httpx.Client(verify=trust, http2=version == "2") as client:
    while left:
        time.sleep(pause)
        headers = {"Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        try:
            with connect_sse(client, "GET", url, headers=headers) as source:
                print(source.response.http_version, flush=True)
                for event in source.iter_sse():
                    last_event_id = event.id
                    if event.retry is not None:
                        pause = event.retry / 1000
                    if not event.data:
                        continue
                    print(event.event, event.id, event.data, flush=True)
                    left -= 1
                    if not left:
                        break
        except (httpx.ReadError, httpx.RemoteProtocolError):
            print("broken", flush=True)
