"""What grows in `scale`, and what is measured at each size."""

import contextlib
from dataclasses import dataclass
from typing import Callable

from . import reloads
from .processes import Fault
from .proxies import Proxy

# Units of work a second, whatever the size: so a unit's cost can be compared. Far below what one core can do.
ECHOES, EVENTS, MESSAGES = 2_000, 10_000, 1_000


@dataclass
class Column:
    """A figure: its key in a row, and the words for it."""

    key: str
    name: str
    unit: str


@dataclass
class Part:
    """One thing that grows."""

    name: str
    title: str
    x: str
    unit: str
    sizes: tuple
    # Descriptors of the proxy for each.
    files: int
    measure: Callable
    columns: tuple = (Column("cpu_us", "CPU time", "µs"), Column("p50_us", "latency, median", "µs"),
                      Column("p99_us", "latency, 99 %", "µs"))
    # Which columns are drawn, in one graph each.
    graphs: tuple = (("cpu_us",), ("p50_us", "p99_us"))
    uses_streams: bool = False

    def files_beside(self, options):
        # A WebSocket has a connection to the backend, too.
        return (2 if options.held == "websockets" else 1) * options.streams if self.uses_streams else 0


def config(bench, options, rest):
    """A configuration of streamgate with `rest` in it, and the proxy that runs with it."""
    bench.serial += 1
    path = bench.run / f"{bench.serial:03}-scale.toml"
    path.write_text(f"""[server]
watch = false
[[listen]]
address = "127.0.0.1:{options.port}"
tls = true
[[tls.certificate]]
cert = "{bench.cert}"
key = "{bench.key}"
[log]
access = false
[admin]
socket = "{path}.sock"
[upstream.backend]
servers = ["http://{bench.backend}"]
[[route]]
path = "/*"
upstream = "backend"
{rest}""")
    return path, Proxy("streamgate", options.port, f"{options.streamgate} run --config {path}")


def loaded(bench, options, name, rest, words):
    """One run of the load generator: cost and latency of a unit."""
    _, proxy = config(bench, options, rest)
    with contextlib.ExitStack() as stack:
        run, group, back = stack.enter_context(bench.started(proxy, f"scale-{name}"))
        load = stack.enter_context(bench.load(proxy, ["--limit-s", "60", *words.split()], run / "load.log"))
        out = bench.work(load, group, back)
        memory = group.memory_kb()["pss"]
    if out["fault"]:
        raise Fault(out["fault"])
    return {"cpu_us": out["cpu_us"], "p50_us": out["load"]["p50_us"], "p99_us": out["load"]["p99_us"],
            "memory_mb": memory / 1024, "units": out["load"]["units"]}


def connections(bench, size, options):
    count = round(ECHOES * options.seconds)
    return loaded(bench, options, f"connections-{size}", "",
                  f"ws-echo --conns {size} --size 64 --rate {ECHOES} --count {count} --warmup 1")


BRIDGE = """
[bridge.feed]
source = "ws://{backend}/feed{query}"
limits = {{ subscribers = 100_000, channels = 100_000 }}
[[route]]
path = "/live/{{room}}"
bridge = "feed"
"""


def subscribers(bench, size, options):
    rate = EVENTS / size
    count = max(1, round(rate * options.seconds))
    return loaded(bench, options, f"subscribers-{size}", BRIDGE.format(backend=bench.backend, query=""),
                  f"stream --source feed --conns {size} --rate {rate} --count {count} --path /live/one --feed-conns 1")


def channels(bench, size, options):
    rate = MESSAGES / size
    count = max(1, round(rate * options.seconds))
    query = f"?gate=1&rate={rate}&count={count}&size=200&room={{room}}"
    return loaded(bench, options, f"channels-{size}", BRIDGE.format(backend=bench.backend, query=query),
                  f"stream --source own --conns {size} --rate {rate} --count {count} --path /live/{{n}} --feed-conns {size}")


def routes(bench, size, options):
    count = round(1_000 * options.seconds)
    return loaded(bench, options, f"routes-{size}", reloads.routes(size), f"h1 --conns 16 --count {count} --spread {size}")


def reload(bench, size, options):
    bridge = BRIDGE.format(backend=bench.backend, query="")
    return reloads.measure(bench, size, options, *config(bench, options, bridge + reloads.routes(size)))


MANY = (100, 300, 1_000, 3_000, 6_000, 9_500, 15_000)
PARTS = {part.name: part for part in (
    Part("connections", f"WebSocket echo, {ECHOES:,} a second in all", "open WebSockets", "echo", MANY, 2, connections),
    Part("subscribers", f"Bridge, one feed, {EVENTS:,} events a second delivered in all", "subscribers", "delivered event",
         MANY, 1, subscribers),
    Part("channels", f"Bridge, {MESSAGES:,} messages a second in all, one subscriber a channel", "channels, each with a feed",
         "delivered event", (1, 10, 100, 1_000, 3_000, 9_500), 2, channels),
    Part("routes", "HTTP/1.1 requests, each for the next route", "routes", "request", (10, 100, 1_000, 10_000), 0, routes),
    Part("reload", "Reload, with requests and open streams", "routes", "reload", (10, 100, 1_000, 10_000), 0, reload,
         (Column("reload_ms", "until the answer", "ms"), Column("cpu_ms", "CPU time", "ms"),
          Column("quiet_p99_ms", "requests before, 99 %", "ms"), Column("p99_ms", "during, 99 %", "ms"),
          Column("quiet_max_ms", "requests before, slowest", "ms"), Column("max_ms", "during, slowest", "ms")),
         (("reload_ms", "cpu_ms"), ("quiet_max_ms", "max_ms")), uses_streams=True),
)}
