"""What is compared: the rows of the table, as data."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
BUILD = Path("build/bench")
Command = Sequence[str | Path]
LEVELS = ("full", "counts")
TARGETS = {1: 0.93, 16: 0.4}  # of our server, by depth


@dataclass(frozen=True)
class Entrant:
    """One line of a comparison."""

    name: str
    server: Command
    client: Command
    target: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Entrants that do the same work; the first is the baseline. `metric` is the field of a round that is compared."""

    title: str
    metric: str
    count: int
    entrants: list[Entrant]


def compile_c(source: str, *flags: str) -> Path:
    """Compiles one program; OSError or CalledProcessError if that is impossible."""
    program = BUILD / Path(source).stem
    BUILD.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-o", program, HERE / source, *flags], check=True)
    return program.resolve()


def python_server(name: str) -> Command:
    """A server of `peers/server.py`."""
    return [sys.executable, "-m", "tests.bench.peers.server", name]


def python_client(name: str) -> Command:
    """A client of `peers/client.py`."""
    return [sys.executable, "-m", "tests.bench.peers.client", name, "{port}"]


def comparisons() -> tuple[list[Comparison], list[str]]:
    """All comparisons that can be made here, and what is missing for the others."""
    missing = []
    raw_server: Command = [compile_c("anchors/raw_server.c")]
    raw_client = compile_c("anchors/raw_client.c")
    servers: list[tuple[str, Command]] = [("raw loop in C", raw_server)]
    servers += [(f"fieldrig, trace {level}", python_server(f"fieldrig-{level}")) for level in LEVELS]
    if Path("/usr/include/modbus/modbus.h").exists():
        libmodbus = compile_c("peers/libmodbus_server.c", "-I/usr/include/modbus", "-lmodbus")
        servers.append(("libmodbus", [libmodbus]))
    else:
        missing.append("libmodbus: needs the Debian package libmodbus-dev: run `make peers`")
    servers.append(("pymodbus", [sys.executable, "-m", "fieldrig.demo.foreign_server"]))

    clients = Comparison(
        "Python client, Modbus/TCP, blocking read of 10 registers, depth 1 (server: raw loop in C)",
        "p50_ns",
        2000,
        [
            Entrant("raw socket in Python", raw_server, python_client("raw")),
            *(
                Entrant(f"fieldrig, trace {level}", raw_server, python_client(f"fieldrig-{level}"), target=0.68)
                for level in LEVELS
            ),
            Entrant("pymodbus sync", raw_server, python_client("pymodbus")),
            Entrant("pyModbusTCP", raw_server, python_client("pyModbusTCP")),
        ],
    )
    return [clients, *(served(servers, raw_client, depth) for depth in (1, 16))], missing


def served(servers: list[tuple[str, Command]], raw_client: Path, depth: int) -> Comparison:
    """All servers under the raw client at one depth."""
    entrants = [
        Entrant(
            name, server, [raw_client, "{port}", str(depth)], TARGETS[depth] if name.startswith("fieldrig") else None
        )
        for name, server in servers
    ]
    metric = "p50_ns" if depth == 1 else "elapsed_ns"
    return Comparison(f"Modbus/TCP server, 10 registers, depth {depth} (client: raw loop in C)", metric, 3200, entrants)
