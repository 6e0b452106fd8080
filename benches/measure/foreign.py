"""wrk and h2load in place of the own load generator: they check no body, but nobody wrote them for this project."""

import re
import subprocess
import time

from . import machine
from .cases import FOREIGN
from .processes import Fault

SECONDS = 4


def measure(bench, case, proxy):
    """One run of one case, as `Bench.measure` does it."""
    program, path = FOREIGN[case]
    scheme = "http" if proxy.name == "direct" else "https"
    url = f"{scheme}://localhost:{proxy.port}{path}"
    conns = 8 if case.endswith("-big") else 32
    words = {
        "wrk": ["wrk", "-t2", f"-c{conns}", f"-d{SECONDS}s", "--latency", url],
        "h2load": ["h2load", "-t2", "-c4", f"-m{max(1, conns // 2)}", f"--duration={SECONDS}", url],
    }[program]
    with bench.started(proxy, f"{case}-{proxy.name}") as (run, group, back):
        # The first run warms up.
        for log in ("warm-up.log", "load.log"):
            before, begun = clocks(group, back), time.time()
            answer = subprocess.run(words, capture_output=True, text=True, timeout=60)
            after, wall = clocks(group, back), time.time() - begun
            (run / log).write_text(answer.stdout + answer.stderr)
    units, fault = read(program, answer.stdout)
    if answer.returncode or not units:
        raise Fault(f"{program}: {(answer.stderr or answer.stdout).strip()[:200]}")
    spent = {name: after[name] - before[name] for name in before}
    return {"cpu_us": spent["proxy"] / 1e3 / units, "cpu_stat_us": spent["stat"] / 1e3 / units,
            "system_us": spent["system"] / 1e3 / units, "backend_cpu_us": spent["back"] / 1e3 / units,
            "client_cpu_us": 0.0, "proxy_processes": 0, "fault": fault,
            "load": {"units": units, "per_s": units / wall, "p50_us": percentile(answer.stdout, "50"),
                     "p99_us": percentile(answer.stdout, "99")}}


def clocks(group, back):
    return {"proxy": group.cpu_ns(), "stat": group.stat_ns(), "system": group.system_ns(), "back": back.cpu_ns(),
            "busy": machine.ticks()["busy"]}


def read(program, text):
    """How many requests there were, and what was wrong with them."""
    if program == "wrk":
        done = re.search(r"(\d+) requests in", text)
        bad = re.search(r"(Socket errors: .*|Non-2xx .*)", text)
        return int(done.group(1)) if done else 0, bad.group(1) if bad else None
    done = re.search(r"requests: (\d+) total, .* (\d+) done, (\d+) succeeded, (\d+) failed", text)
    if not done:
        return 0, None
    # What was under way when the time was over counts as failed; what was answered counts.
    statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text)
    wrong = statuses and any(int(count) for count in statuses.groups()[1:])
    return int(done.group(3)), f"h2load: {statuses.group()}" if wrong else None


def percentile(text, which):
    """wrk's latency, in microseconds; h2load tells none."""
    found = re.search(rf"^\s+{which}%\s+([\d.]+)(us|ms|s)\b", text, re.MULTILINE)
    return float(found.group(1)) * {"us": 1, "ms": 1e3, "s": 1e6}[found.group(2)] if found else None
