"""The proxies that are measured, and who takes part in which case."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .cases import DIRECT_SKIPS

PEERS = Path(__file__).resolve().parent.parent / "compare" / "peers"


@dataclass
class Proxy:
    """A proxy: how it is started, where it listens, what it can do."""

    name: str
    port: int
    command: "str | None" = None
    takes: set = field(default_factory=lambda: {"proxy", "fanout"})
    # A command that tells the version; the program without which the proxy is not there.
    version: str = ""
    needs: str = ""
    # Where fan-out clients connect, and how messages are published where the proxy has no feed of its own.
    path: "str | None" = None
    publish: "list | None" = None
    # Not one of those that the others are compared with.
    subject: bool = False
    tls12: bool = False

    def takes_part(self, case, kind):
        if self.name == "direct":
            return case not in DIRECT_SKIPS
        return kind in self.takes


def peers(backend_port):
    """All that have a folder in `compare/peers`, and `direct`, the backend itself."""
    known = {"direct": Proxy("direct", backend_port, path="/feed-sse")}
    for name, peer in json.loads((PEERS / "peers.json").read_text()).items():
        known[name] = Proxy(
            name, peer["port"], str(PEERS / name / "start"), set(peer["for"]), version=peer["version"],
            needs=peer["needs"], path=peer.get("path"), publish=peer.get("publish"),
            subject=peer.get("subject", False), tls12=peer.get("tls12", False))
    return known


def subject(spec, fanout_path):
    """NAME:START-COMMAND:PORT, as `--subject` has it."""
    name, _, rest = spec.partition(":")
    command, _, port = rest.rpartition(":")
    if not (name and command and port.isdigit()):
        sys.exit(f"--subject must be NAME:START-COMMAND:PORT, not {spec!r}")
    return Proxy(name, int(port), command, path=fanout_path, subject=True)
