"""Eight clients that connect, ask and leave, until SIGTERM: how many of them were refused or had no answer is the exit code.

`load.py NAME URL`; the URL is http://HOST:PORT/PATH, or https:// with any certificate.
"""

import http.client
import signal
import ssl
import sys
import threading
import time
import urllib.parse

name, url = sys.argv[1], urllib.parse.urlsplit(sys.argv[2])
context = ssl._create_unverified_context()
stop = threading.Event()
lock = threading.Lock()
answered, failed, slowest = 0, [], 0.0


def ask():
    port = url.port or (443 if url.scheme == "https" else 80)
    if url.scheme == "https":
        connection = http.client.HTTPSConnection(url.hostname, port, timeout=30, context=context)
    else:
        connection = http.client.HTTPConnection(url.hostname, port, timeout=30)
    try:
        # One request for each connection: it is connecting that may be refused.
        connection.request("GET", url.path or "/", headers={"Connection": "close"})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def client():
    global answered, slowest
    while not stop.is_set():
        begun = time.monotonic()
        try:
            status = ask()
            fault = None if status == 200 else f"status {status}"
        except Exception as error:  # whatever it is, it counts
            fault = f"{type(error).__name__}: {error}"
        took = time.monotonic() - begun
        with lock:
            slowest = max(slowest, took)
            if fault is None:
                answered += 1
            else:
                failed.append(fault)
        time.sleep(0.01)


signal.signal(signal.SIGTERM, lambda *_: stop.set())
threads = [threading.Thread(target=client) for _ in range(8)]
for thread in threads:
    thread.start()
while not stop.is_set() and answered < 20:
    time.sleep(0.05)
print("under-way", flush=True)
stop.wait(180)
stop.set()
for thread in threads:
    thread.join()
for fault in sorted(set(failed)):
    print(f"{failed.count(fault)} times: {fault}")
print(f"{name}: {answered} answered, {len(failed)} not, the slowest after {slowest * 1000:.0f} ms")
sys.exit(min(len(failed), 100))
