"""One run: backend, proxy and load generator started afresh, and the proxy's CPU time or memory around the measured part."""

import atexit
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import machine
from .cases import CASES, kind
from .processes import Group, Load, wait_port

COMPARE = Path(__file__).resolve().parent.parent / "compare"


class Bench:
    """Where runs leave their files, and how one is done."""

    def __init__(self, opt):
        self.opt = opt
        target = Path(os.environ.get("CARGO_TARGET_DIR", COMPARE / "target"))
        self.bin = Path(opt.bin or target / "release")
        if not (self.bin / "bench-load").exists():
            sys.exit(f"no bench-load in {self.bin}: "
                     f"cargo build --release --manifest-path {COMPARE}/Cargo.toml, or --bin FOLDER")
        self.run = Path(opt.run_dir or tempfile.mkdtemp(prefix="streamgate-bench-"))
        self.run.mkdir(parents=True, exist_ok=True)
        if not (opt.keep or opt.run_dir):
            atexit.register(shutil.rmtree, self.run, ignore_errors=True)
        self.backend = f"127.0.0.1:{opt.backend_port}"
        self.serial = 0
        self.env = dict(os.environ)
        self.certificate()

    def certificate(self):
        self.cert, self.key, self.pem = (self.run / f for f in ("cert.pem", "key.pem", "both.pem"))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", self.key, "-out", self.cert],
            check=True, capture_output=True)
        self.pem.write_bytes(self.cert.read_bytes() + self.key.read_bytes())

    def case_words(self, case, proxy):
        """What the load generator is told of a case."""
        words = []
        for word in CASES[case][0].split():
            if word.startswith("{n"):
                word = str(max(1, round(int(word[2:-1]) * self.opt.scale)))
            elif word == "{c}":
                word = str(self.opt.conns)
            words.append(word)
        if kind(case) == "fanout":
            words += ["--path", proxy.path]
            if proxy.name == "direct":
                words[words.index("--feed-conns") + 1] = "0"
        return words

    def load_args(self, proxy, words):
        common = ["--target", f"127.0.0.1:{proxy.port}", "--backend", self.backend]
        common += ["--plain"] if proxy.name == "direct" else ["--ca", str(self.cert)]
        common += ["--tls12"] if proxy.tls12 else []
        return [*common, *words]

    @contextlib.contextmanager
    def started(self, proxy, label):
        """Backend and proxy started afresh, in groups of their own; both are ended behind it."""
        self.serial += 1
        run = self.run / f"{self.serial:03}-{label}"
        run.mkdir()
        with contextlib.ExitStack() as stack:
            back = Group()
            stack.callback(back.stop)
            p = back.start([self.bin / "bench-backend", "--listen", self.backend], stderr=open(run / "backend.log", "w"))
            wait_port(self.opt.backend_port, p)
            group = Group()
            stack.callback(group.stop)
            if proxy.command:
                env = dict(self.env, BENCH_PORT=str(proxy.port), BENCH_BACKEND=self.backend, BENCH_RUN=str(run),
                           BENCH_CERT=str(self.cert), BENCH_KEY=str(self.key), BENCH_PEM=str(self.pem))
                p = group.start("exec " + proxy.command, shell=True, env=env, stdin=subprocess.DEVNULL,
                                stdout=open(run / "proxy.out", "w"), stderr=open(run / "proxy.err", "w"))
                wait_port(proxy.port, p)
                time.sleep(1.0)
            yield run, group, back

    @contextlib.contextmanager
    def load(self, proxy, words, log):
        """The load generator, which is ended behind it."""
        load = Load(self.bin / "bench-load", self.load_args(proxy, words), log)
        try:
            yield load
        finally:
            load.close()

    def measure(self, case, proxy):
        """One run of one case against one proxy."""
        fed = proxy.publish and kind(case) == "fanout"
        with self.started(proxy, f"{case}-{proxy.name}") as (run, group, back), contextlib.ExitStack() as stack:
            if fed:
                # Above capacity, messages wait in front of the publisher: that must count.
                keep = ["--keep-time"] if case == "fanout-max" else []
                publish = ["--backend", self.backend, "publish", *proxy.publish, *keep]
                publisher = Load(self.bin / "bench-load", publish, run / "publish.log")
                stack.callback(publisher.close)
                publisher.phase("ready")
            load = stack.enter_context(self.load(proxy, self.case_words(case, proxy), run / "load.log"))
            if "-idle" in case:
                return self.hold(load, group)
            out = self.work(load, group, back)
            if fed:
                publisher.go()
                out["publisher"] = publisher.phase("published")
                if out["publisher"]["errors"]:
                    out["fault"] = out["fault"] or f"publishing: {out['publisher']['first_error']}"
            return out

    def work(self, load, group, back):
        """The CPU time of the measured part, and its figures."""
        load.phase("ready")
        time.sleep(0.2)
        a = self.clocks(load, group, back)
        load.go()
        r = load.phase("done")
        b = self.clocks(load, group, back)
        load.go()
        d = {k: b[k] - a[k] for k in a}
        units = r["units"] or 1
        out = {"cpu_us": d["proxy"] / 1e3 / units, "cpu_stat_us": d["proxy_stat"] / 1e3 / units,
               "system_us": d["proxy_sys"] / 1e3 / units,
               "client_cpu_us": d["load"] / 1e3 / units, "backend_cpu_us": d["back"] / 1e3 / units,
               "proxy_processes": len(group.pids()) if group.leader else 0,
               "foreign_cpu_s": d["busy"] / machine.TICK - (d["proxy"] + d["load"] + d["back"]) / 1e9,
               "steal_s": d["steal"] / machine.TICK, "load": r}
        out["fault"] = self.check(r)
        return out

    def clocks(self, load, group, back):
        return {"proxy": group.cpu_ns(), "proxy_stat": group.stat_ns(), "proxy_sys": group.system_ns(),
                "load": machine.proc_cpu_ns(load.p.pid), "back": back.cpu_ns(), **machine.ticks()}

    @staticmethod
    def check(r):
        if r["errors"]:
            return f"{r['errors']} errors: {r['first_error']}"
        if "backend_units" in r and r["backend_units"] != r["units"]:
            return f"backend saw {r['backend_units']} of {r['units']} units"
        if "expected" in r and r["expected"] != r["units"]:
            return f"{r['units']} of {r['expected']} events"
        if r.get("feed_lagged"):
            return f"the backend itself dropped {r['feed_lagged']} messages"
        if r.get("wrong_handshakes"):
            return f"{r['wrong_handshakes']} handshakes not of the kind wanted"
        return None

    def hold(self, load, group):
        """The memory of connections that are held."""
        load.phase("start")
        time.sleep(0.5)
        m0, k0, c0 = group.memory_kb(), machine.kernel_kb(), group.cpu_ns()
        load.go()
        r = load.phase("holding")
        c1 = group.cpu_ns()
        time.sleep(self.opt.settle)
        m1, k1 = group.memory_kb(), machine.kernel_kb()
        idle0, t0 = group.cpu_ns(), time.time()
        time.sleep(2)
        idle = (group.cpu_ns() - idle0) / (time.time() - t0) / 1e9
        load.go()
        alive = load.phase("done")
        load.go()
        n = r["units"] or 1
        fault = self.check(r)
        if alive["errors"] or alive["units"] != r["units"]:
            fault = fault or f"{alive['errors']} of {n} held connections were dead: {alive['first_error']}"
        return {"pss_kb": (m1["pss"] - m0["pss"]) / n, "rss_kb": (m1["rss"] - m0["rss"]) / n,
                "base_pss_mb": m0["pss"] / 1024, "held_pss_mb": m1["pss"] / 1024, "hwm_mb": m1["hwm"] / 1024,
                "kernel_kb": (k1 - k0) / n, "cpu_us": (c1 - c0) / 1e3 / n, "idle_cpu_percent": 100 * idle,
                "proxy_processes": len(group.pids()) if group.leader else 0, "load": r, "alive": alive, "fault": fault}
