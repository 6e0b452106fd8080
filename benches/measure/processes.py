"""The programs of a run: a proxy with all that it starts, and the load generator with its phases."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from . import machine


class Fault(Exception):
    """A run that gives no figure, and why."""


class Group:
    """All processes of one proxy: a control group of its own where that can be made (exact, counts ended children too),
    else the session it was started in."""

    # Version 1 has a tree for this alone, version 2 has one tree.
    ROOTS = (Path("/sys/fs/cgroup/cpuacct"), Path("/sys/fs/cgroup"))
    serial = 0

    def __init__(self):
        Group.serial += 1
        self.leader = None
        self.dir = None
        root = next((root for root in self.ROOTS if (root / "cgroup.procs").exists()), None)
        if root:
            folder = root / f"streamgate-bench-{os.getpid()}-{Group.serial}"
            with contextlib.suppress(OSError):
                folder.mkdir()
                self.dir = folder

    def start(self, argv, shell=False, **kw):
        def enter():
            if self.dir:
                (self.dir / "cgroup.procs").write_text(str(os.getpid()))
        self.leader = subprocess.Popen(argv, shell=shell, preexec_fn=enter, start_new_session=True, **kw)
        return self.leader

    def pids(self):
        if not self.leader:
            return []
        if self.dir:
            return [int(p) for p in (self.dir / "cgroup.procs").read_text().split()]
        out = []
        for p in Path("/proc").iterdir():
            if p.name.isdigit():
                with contextlib.suppress(OSError, IndexError):
                    if machine.stat_fields(p.name)[3] == str(self.leader.pid):
                        out.append(int(p.name))
        return out

    def cpu_ns(self):
        """CPU time since the start, user and system."""
        if not self.leader:
            return 0
        if self.dir:
            return self.group_ns("cpuacct.usage", "usage_usec")
        return self.stat_ns()

    def system_ns(self):
        """The kernel's part of cpu_ns (by clock ticks, so only roughly)."""
        if self.leader and self.dir:
            return self.group_ns("cpuacct.usage_sys", "system_usec")
        return 0

    def group_ns(self, file, field):
        """A figure of the control group: a file of its own in version 1, a line of `cpu.stat` in version 2."""
        if (self.dir / file).exists():
            return int((self.dir / file).read_text())
        lines = (line.split() for line in (self.dir / "cpu.stat").read_text().splitlines())
        return 1000 * int(dict(lines)[field])

    def stat_ns(self):
        """The same from /proc/PID/stat (user + system, and waited-for children)."""
        return sum(machine.proc_cpu_ns(p, children=True) for p in self.pids())

    def memory_kb(self):
        total = {"pss": 0, "rss": 0, "hwm": 0}
        for pid in self.pids():
            with contextlib.suppress(OSError):
                roll = machine.fields(f"/proc/{pid}/smaps_rollup")
                total["pss"] += roll["Pss"]
                total["rss"] += roll["Rss"]
                total["hwm"] += machine.fields(f"/proc/{pid}/status").get("VmHWM", 0)
        return total

    def stop(self):
        if self.leader is None:
            return self.forget()
        for sig, wait in ((signal.SIGTERM, 4), (signal.SIGKILL, 5)):
            # The leader first: it is the one that ends its workers in order.
            for pid in sorted(self.pids(), key=lambda p: p != self.leader.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sig)
            end = time.time() + wait
            while time.time() < end:
                self.leader.poll()
                if not self.pids():
                    break
                time.sleep(0.02)
            if not self.pids():
                break
        self.leader.wait(timeout=5)
        self.forget()

    def forget(self):
        if self.dir:
            for _ in range(50):
                try:
                    self.dir.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)


def wait_port(port, proc, limit=20):
    end = time.time() + limit
    while time.time() < end:
        if proc.poll() is not None:
            raise Fault(f"ended at start with {proc.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise Fault(f"nothing listens on port {port} after {limit} s")


class Load:
    """One run of the load generator, phase by phase."""

    def __init__(self, binary, args, log):
        self.log = log
        self.p = subprocess.Popen([binary, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=open(log, "w"), text=True)

    def phase(self, name):
        line = self.p.stdout.readline()
        if not line:
            tail = Path(self.log).read_text().strip().splitlines()
            raise Fault(" ".join(" ".join(tail).partition("Stack backtrace")[0].split()) or "load generator ended")
        v = json.loads(line)
        if v.get("phase") != name:
            raise Fault(f"expected phase {name}: {v}")
        return v

    def go(self):
        self.p.stdin.write("\n")
        self.p.stdin.flush()

    def close(self):
        with contextlib.suppress(OSError):
            self.p.stdin.close()
        try:
            self.p.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()
        self.p.stdout.close()
