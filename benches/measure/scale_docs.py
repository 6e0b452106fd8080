"""The results of `scale` as tables, as graphs, and as a section of docs/performance.md."""

import json

from . import svg
from .scale_parts import PARTS

BEGIN, END = "<!-- scale: begin -->", "<!-- scale: end -->"


def write(docs, result):
    """Merges `result` into what is there, and writes tables and graphs anew."""
    folder = docs / "performance"
    folder.mkdir(exist_ok=True)
    kept = folder / "scale.json"
    before = json.loads(kept.read_text()) if kept.exists() else {"parts": {}}
    result = {**result, "parts": {**before["parts"], **result["parts"]}}
    kept.write_text(json.dumps(result, indent=1) + "\n")
    for name, _, graph in graphs(result):
        (folder / name).write_text(graph)
    page = docs / "performance.md"
    head, _, rest = page.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    page.write_text(f"{head}{BEGIN}\n{tables(result, with_graphs=True)}\n{END}{tail}")


def graphs(result):
    """(file, part, SVG) of all graphs that there are points for."""
    for name, part in PARTS.items():
        rows = [row for row in result["parts"].get(name, {"rows": []})["rows"] if "fault" not in row]
        columns = {column.key: column for column in part.columns}
        for number, keys in enumerate(part.graphs if rows else ()):
            series = {columns[key].name: [(row["size"], row[key]) for row in rows] for key in keys}
            y = f"{columns[keys[0]].unit}" + (f" a {part.unit}" if keys == ("cpu_us",) else "")
            yield f"{name}-{number + 1}.svg", name, svg.graph(part.title, part.x, y, series)


def tables(result, with_graphs=False):
    """One table a part."""
    machine = f"{result['processor']} ({result['cpus']} cores), Linux {result['kernel']}"
    out = [f"{result['version']}, {machine}, {result['when']}.", ""]
    images = {}
    for file, name, _ in graphs(result) if with_graphs else ():
        images.setdefault(name, []).append(file)
    for name, part in PARTS.items():
        measured = result["parts"].get(name)
        if not measured:
            continue
        out += [f"### {part.title}", ""]
        out += [f"![{part.title}](performance/{file})" for file in images.get(name, [])]
        out += [""] if name in images else []
        out.append("| " + " | ".join([part.x, *(f"{column.name} ({column.unit})" for column in part.columns)]) + " |")
        out.append("|" + " ---: |" * (1 + len(part.columns)))
        for row in measured["rows"]:
            if "fault" in row:
                out.append(f"| {row['size']:,} | no figure: {row['fault'][:100]} " + "| " * (len(part.columns) - 1) + "|")
            else:
                out.append(f"| {row['size']:,} | " + " | ".join(f"{row[column.key]:,.1f}" for column in part.columns) + " |")
        out += ["", *(f"Left out: {reason}." for reason in measured["left_out"]), ""]
    return "\n".join(out).rstrip() + "\n"
