"""What the kernel tells of processes and of the machine."""

import contextlib
import os
import resource
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def stat_fields(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def proc_cpu_ns(pid, children=False):
    try:
        f = stat_fields(pid)
    except OSError:
        return 0
    return sum(int(x) for x in f[11:15 if children else 13]) * 10**9 // TICK


def fields(path):
    """`Name:  123 kB` lines of a /proc file, in kB."""
    out = {}
    for line in Path(path).read_text().splitlines():
        k, _, v = line.partition(":")
        with contextlib.suppress(ValueError, IndexError):
            out[k] = int(v.split()[0])
    return out


def kernel_kb():
    """Kernel memory of the whole machine that grows with sockets."""
    tcp = 0
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        w = line.split()
        if w[0] == "TCP:":
            tcp = int(w[w.index("mem") + 1]) * os.sysconf("SC_PAGESIZE") // 1024
    return fields("/proc/meminfo")["SUnreclaim"] + tcp


def ticks():
    """CPU time of the whole machine, in clock ticks: used by all, and taken away by its host."""
    f = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return {"busy": sum(f[:3]) + f[5] + f[6], "steal": f[7]}


def descriptors():
    """How many files a process may have open: what we may raise the limit to, as the proxies do themselves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, 200_000), max(hard, 200_000)))
        return max(hard, 200_000)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return soft


def processor():
    """The processor's name, as far as the kernel knows it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return "unknown"
