"""Compares two of the fuzzing client's reports case by case, prints the figures, and fails on any difference."""

import collections
import json
import sys

# How the case went, how the connection was closed, and the code that the other side closed it with.
JUDGED = ["behavior", "behaviorClose", "remoteCloseCode"]


def verdicts(path):
    with open(path, encoding="utf-8") as report:
        (cases,) = json.load(report).values()
    return {case: tuple(found[key] for key in JUDGED) for case, found in cases.items()}


def in_order(case):
    return [int(part) for part in case.split(".")]


def main(direct_path, gate_path):
    direct, gate = verdicts(direct_path), verdicts(gate_path)
    if not direct:
        sys.exit("no case was run")
    cases = sorted(direct.keys() | gate.keys(), key=in_order)
    different = [case for case in cases if direct.get(case) != gate.get(case)]
    print(f"cases: {len(cases)}, identical: {len(cases) - len(different)}")
    for name, found in (("directly", direct), ("through streamgate", gate)):
        behaviours = collections.Counter(verdict[0] for verdict in found.values())
        said = ", ".join(f"{count} {behaviour}" for behaviour, count in behaviours.most_common())
        print(f"{name}: {said}")
    for case in different:
        print(f"case {case} differs in {JUDGED}: {direct.get(case)} directly, {gate.get(case)} through streamgate")
    sys.exit(1 if different else 0)


main(*sys.argv[1:])
