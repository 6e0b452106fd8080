"""From runs to rows, and from rows to tables."""

import statistics

from .cases import unit

# Beside the metric itself, the median of each of these is in a row where the runs have it.
MEDIANS = ("rss_kb", "base_pss_mb", "held_pss_mb", "kernel_kb", "cpu_us", "cpu_stat_us", "system_us", "client_cpu_us",
           "idle_cpu_percent", "proxy_processes")
MEMORY_HEAD = ["proxy", "PSS KiB/conn", "min..max", "ratio", "RSS KiB/conn", "base PSS MiB", "held PSS MiB",
               "kernel KiB/conn", "open CPU us", "idle CPU %", "faults"]


def median(runs, key):
    values = [value for value in (key(run) for run in runs) if value is not None]
    return statistics.median(values) if values else None


def summarise(case, runs, order, proxies):
    """{name: row}; the ratio pairs each round with the best peer's in that round."""
    metric = "pss_kb" if "-idle" in case else "cpu_us"
    good = {name: {number: run for number, run in numbered.items() if not run.get("fault") and metric in run}
            for name, numbered in runs.items()}
    rank = {name: median(numbered.values(), lambda run: run[metric]) for name, numbered in good.items()
            if numbered and name != "direct" and not proxies[name].subject}
    best = min(rank, key=rank.get) if rank else None
    rows = {}
    for name in order:
        faults = [run["fault"] for run in runs[name].values() if run.get("fault")]
        rows[name] = {"rounds": len(good[name]), "faults": faults}
        if good[name]:
            rows[name].update(figures(metric, good[name]))
            if best and name != "direct":
                rows[name].update(ratios(metric, good[name], good[best]))
    return {"metric": metric, "best_peer": best, "rows": rows}


def figures(metric, runs):
    values = [run[metric] for run in runs.values()]
    row = {metric: statistics.median(values), "min": min(values), "max": max(values)}
    some = next(iter(runs.values()))
    row.update({key: median(runs.values(), lambda run: run[key]) for key in MEDIANS if key in some})
    row.update({key: median(runs.values(), lambda run: run["load"][key]) for key in ("per_s", "p50_us", "p99_us")})
    return row


def ratios(metric, runs, best):
    pairs = [run[metric] / best[number][metric] for number, run in runs.items() if number in best]
    least = min(run[metric] for run in runs.values()) / min(run[metric] for run in best.values())
    return {"ratio": statistics.median(pairs) if pairs else None, "ratio_of_minima": least,
            "ratio_min": min(pairs, default=None), "ratio_max": max(pairs, default=None)}


def number(value, digits=1):
    return "-" if value is None else f"{value:,.{digits}f}"


def table(case, summary):
    """The rows of one case."""
    is_memory = summary["metric"] == "pss_kb"
    head = MEMORY_HEAD if is_memory else [
        "proxy", f"CPU us/{unit(case)}", "min..max", "ratio (pairs)", "ratio of minima", "units/s", "p50 us", "p99 us",
        "processes", "faults"]
    out = [f"### {case}", "", "| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for name, row in summary["rows"].items():
        fault = f"{len(row['faults'])}x {row['faults'][0][:90]}" if row["faults"] else ""
        if summary["metric"] not in row:
            cells = ["-"] * (len(head) - 2) + [fault or "no result"]
        elif is_memory:
            cells = [*memory_cells(row), fault]
        else:
            cells = [*cpu_cells(name, row), fault]
        out.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(out) + "\n"


def memory_cells(row):
    return [number(row["pss_kb"]), f"{number(row['min'])}..{number(row['max'])}", number(row.get("ratio"), 2),
            number(row["rss_kb"]), number(row["base_pss_mb"]), number(row["held_pss_mb"]), number(row["kernel_kb"]),
            number(row["cpu_us"], 0), number(row["idle_cpu_percent"], 2)]


def cpu_cells(name, row):
    cost = ["-", "", "", ""]
    if name != "direct":
        pairs = f"{number(row.get('ratio'), 2)} ({number(row.get('ratio_min'), 2)}..{number(row.get('ratio_max'), 2)})"
        cost = [number(row["cpu_us"], 2), f"{number(row['min'], 2)}..{number(row['max'], 2)}", pairs,
                number(row.get("ratio_of_minima"), 2)]
    return [*cost, number(row["per_s"], 0), number(row["p50_us"], 0), number(row["p99_us"], 0),
            number(row["proxy_processes"], 0)]
