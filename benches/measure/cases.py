"""The cases: what the load generator does, what one unit of it is, and who takes part."""

# case: (load arguments, unit, who takes part). {n…} is scaled by --scale, {c} is --conns.
CASES = {
    "h1": ("h1 --conns 32 --count {n12000}", "request", "proxy"),
    "h1-big": ("h1 --path /big --conns 8 --warmup 3 --count {n600}", "MiB", "proxy"),
    "h1-lat": ("h1 --conns 16 --rate 400 --count {n1200}", "request", "proxy"),
    "h1-new": ("h1-new --conns 16 --count {n1000}", "full handshake and request", "proxy"),
    "h1-resume": ("h1-new --resume --conns 16 --count {n1000}", "resumed handshake and request", "proxy"),
    "h2": ("h2 --conns 4 --streams 16 --count {n12000}", "request", "proxy"),
    "h2-big": ("h2 --path /big --conns 4 --streams 2 --warmup 3 --count {n600}", "MiB", "proxy"),
    "h2-lat": ("h2 --conns 4 --streams 4 --rate 400 --count {n1200}", "request", "proxy"),
    "ws-echo": ("ws-echo --conns 32 --size 64 --count {n15000}", "echo", "proxy"),
    "ws-echo-16k": ("ws-echo --conns 16 --size 16384 --count {n5000}", "echo", "proxy"),
    "ws-lat": ("ws-echo --conns 16 --size 64 --rate 400 --count {n1200}", "echo", "proxy"),
    "ws-push": ("stream --transport ws --source feed --conns 200 --rate 20 --count {n40}", "message", "proxy"),
    "sse-pass": ("stream --source own --conns 200 --rate 20 --count {n40}", "event", "proxy"),
    "sse-slow": ("stream --source own --conns 1000 --rate 1 --count {n40}", "event", "proxy"),
    "fanout": ("stream --source feed --conns 1000 --rate 10 --count {n30} --feed-conns 1", "delivered event", "fanout"),
    "fanout-10k": ("stream --source feed --conns 10000 --rate 2 --count {n20} --feed-conns 1", "delivered event", "fanout"),
    "fanout-max": ("stream --source feed --conns 500 --rate 400 --count {n150} --feed-conns 1", "delivered event", "fanout"),
    "ws-idle": ("idle --transport ws --conns {c}", "connection", "proxy"),
    "sse-idle": ("idle --transport sse --conns {c}", "connection", "proxy"),
    "fanout-idle": ("idle --transport sse --conns {c}", "connection", "fanout"),
}

# The backend itself speaks neither HTTP/2 nor TLS, and has no fan-out that holds idle clients.
DIRECT_SKIPS = {"h2", "h2-big", "h2-lat", "h1-resume", "fanout-idle"}

# What other generators can do in their stead: only where nothing is checked but the status.
FOREIGN = {"h1": ("wrk", "/small"), "h1-big": ("wrk", "/big"), "h2": ("h2load", "/small"), "h2-big": ("h2load", "/big")}


def unit(case):
    return CASES[case][1]


def kind(case):
    return CASES[case][2]
