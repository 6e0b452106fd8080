"""Reloads of a configuration with many routes, while requests are answered and streams are open."""

import http.client
import json
import socket
import statistics
import time

from .processes import Fault

RELOADS = 5
# Requests a second that tell of a pause.
RATE = 400


def routes(count):
    """`count` routes, each with a prefix of its own."""
    return "".join(f'[[route]]\npath = "/r{index}/*"\nupstream = "backend"\nstrip_prefix = "/r{index}"\n'
                   for index in range(count))


class Admin(http.client.HTTPConnection):
    """A connection to the admin socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def reload(admin):
    """Reloads, and returns how long the answer took, in milliseconds."""
    connection = Admin(admin)
    begun = time.monotonic()
    connection.request("POST", "/api/reload")
    answer = connection.getresponse()
    text = answer.read().decode()
    took = 1e3 * (time.monotonic() - begun)
    connection.close()
    if answer.status != 200 or json.loads(text).get("outcome") != "done":
        raise Fault(f"the reload was answered with {answer.status}: {text[:200]}")
    return took


def measure(bench, size, options, path, proxy):
    """Requests at a steady rate, first left alone and then with reloads, each of which changes one route."""
    begin = path.read_text()
    seconds = max(options.seconds / 2, 2)
    words = f"--limit-s 60 h1 --conns 8 --rate {RATE} --count {round(RATE * seconds)} --spread {size}".split()
    held = {"websockets": "--transport ws", "subscribers": "--transport sse --path /live/one"}[options.held]
    idle = f"--limit-s 120 idle {held} --conns {options.streams}".split()
    with bench.started(proxy, f"scale-reload-{size}") as (run, group, _back), \
            bench.load(proxy, idle, run / "idle.log") as held:
        held.phase("start")
        held.go()
        opened = held.phase("holding")
        with bench.load(proxy, words, run / "quiet.log") as load:
            quiet, _, _ = asked(load, bench)
        with bench.load(proxy, words, run / "load.log") as load:
            def change(number):
                path.write_text(f'{begin}[[route]]\npath = "/new{number}"\nupstream = "backend"\n')
                before = group.cpu_ns()
                took = reload(f"{path}.sock")
                return took, (group.cpu_ns() - before) / 1e6

            busy, took, spent = asked(load, bench, change, seconds / (RELOADS + 1))
        held.go()
        alive = held.phase("done")
        held.go()
    if opened["errors"] or alive["errors"] or alive["units"] != opened["units"]:
        raise Fault(f"{alive['errors']} of {opened['units']} open streams were dead: {alive['first_error']}")
    return {"reload_ms": took, "cpu_ms": spent, "streams": opened["units"],
            "quiet_p99_ms": quiet["p99_us"] / 1e3, "quiet_max_ms": quiet["max_us"] / 1e3,
            "p99_ms": busy["p99_us"] / 1e3, "max_ms": busy["max_us"] / 1e3}


def asked(load, bench, change=None, pause=0):
    """One run of requests, and what its reloads took: until the answer, and of CPU time (that of the requests too)."""
    load.phase("ready")
    load.go()
    took = []
    for number in range(RELOADS if change else 0):
        time.sleep(pause)
        took.append(change(number))
    result = load.phase("done")
    load.go()
    if fault := bench.check(result):
        raise Fault(fault)
    if not change:
        return result, None, None
    return result, statistics.median(t for t, _ in took), statistics.median(cpu for _, cpu in took)
