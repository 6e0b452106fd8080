#!/usr/bin/env python3
"""Counts the instructions of the cases in instructions.rs under valgrind, and compares them with instructions.json.

    benches/instructions.py             builds, counts, compares: 1 where a case has grown by more than 15 %
    benches/instructions.py --update    writes what it has counted, for a growth that is meant
    benches/instructions.py CASE …      these cases only

A count hardly moves from run to run, whoever else is busy. It does move with the compiler and with what the processor can
do, so counts are only compared where both are those of the file; else they are printed, and nothing is said of them.
"""

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMMITTED = HERE / "instructions.json"
LIMIT = 15.0
# So many that what happens once or now and then is spread over all, and so few that the whole takes seconds.
ROUNDS = {"route": 5000, "request-head": 2000, "event": 5000, "frames": 200, "log": 5000}


def toolchain():
    """What decides over the code that runs: the compiler's minor version, and whether libraries find AVX2."""
    version = subprocess.run(["rustc", "--version"], cwd=HERE, check=True, capture_output=True, text=True).stdout
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return {
        "rustc": re.search(r"\d+\.\d+", version).group(),
        "machine": platform.machine(),
        "avx2": bool(re.search(r"^flags.*\bavx2\b", cpuinfo, re.MULTILINE)),
    }


def build():
    """Builds the cases as a release is built, and returns the program."""
    made = subprocess.run(
        ["cargo", "bench", "--locked", "--bench", "instructions", "--no-run", "--message-format=json"],
        cwd=HERE.parent, check=True, stdout=subprocess.PIPE, text=True)
    for line in made.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "instructions":
            return message["executable"]
    sys.exit("cargo has told of no program")


def count(program, case):
    """Instructions of one round of a case."""
    with tempfile.TemporaryDirectory(prefix="streamgate-instructions-") as folder:
        out = Path(folder) / "counts"
        subprocess.run(
            ["valgrind", "-q", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*instructions*counted*",
             f"--callgrind-out-file={out}", program, case, str(ROUNDS[case])],
            check=True, timeout=300)
        totals = re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.MULTILINE)
    counted = int(totals.group(1)) if totals else 0
    if counted < ROUNDS[case]:
        sys.exit(f"{case}: nothing was counted: has `counted` another name now?")
    return round(counted / ROUNDS[case])


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("case", nargs="*", metavar="CASE", help="default: all")
    arguments.add_argument("--update", action="store_true", help="write the counts to instructions.json")
    options = arguments.parse_args()
    if unknown := set(options.case) - set(ROUNDS):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(ROUNDS)}")
    if not shutil.which("valgrind"):
        print("skipped: there is no valgrind here (apt-get install valgrind)")
        return

    here, committed = toolchain(), json.loads(COMMITTED.read_text()) if COMMITTED.exists() else {}
    program = build()
    counts = {case: count(program, case) for case in options.case or ROUNDS}

    comparable = committed.get("toolchain") == here
    before = committed.get("instructions", {}) if comparable or not options.update else {}
    print(f"{'instructions a round':22}{'committed':>12}{'now':>12}{'change':>10}")
    grown = []
    for case, now in counts.items():
        then = before.get(case)
        change = 100 * (now / then - 1) if then else None
        if comparable and change is not None and change > LIMIT:
            grown.append(case)
        print(f"{case:22}{then or '-':>12}{now:>12}{'-' if change is None else f'{change:+.1f} %':>10}")

    if options.update:
        COMMITTED.write_text(json.dumps({"toolchain": here, "instructions": {**before, **counts}}, indent=4) + "\n")
    elif not before:
        print("not compared: nothing is committed yet (--update)")
    elif not comparable:
        print(f"not compared: the committed counts are of {committed['toolchain']}, these of {here}")
    elif grown:
        sys.exit(f"more than {LIMIT:.0f} % above what was committed: {', '.join(grown)}. Meant? benches/instructions.py --update")


if __name__ == "__main__":
    main()
