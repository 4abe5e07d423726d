"""What is compared: the rows of the table, as data.

Rules of this file: the first entrant of a comparison is its baseline; one that cannot be had here is left out and
named, with what would bring it; nothing is installed or built here but the small programs in C beside this file.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
BUILD = Path("build/bench")
RUST_STACKS = Path("build/rust_stacks/release/rust_stacks")
RUST_CLIENT = Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release/examples/modbus_client"
LEVELS = ("full", "counts")
DEPTHS = (1, 16)
PORT = "{port}"
Command = Sequence[str | Path]


@dataclass(frozen=True)
class Entrant:
    """One line of a comparison."""

    name: str
    server: Command
    client: Command
    target: float | None = None


@dataclass(frozen=True)
class Target:
    """What became of a target: by which entrant, and the figure beside it."""

    what: str
    held: bool
    figure: str


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
    return [sys.executable, "-m", "tests.bench.peers.client", name, PORT]


@dataclass
class Programs:
    """What takes part, as far as it can be had here; `missing` says what else there could be."""

    missing: list[str] = field(default_factory=list)
    raw_server: Path = field(init=False)
    raw_client: Path = field(init=False)
    raw_rtu_server: Path = field(init=False)
    libmodbus: dict[str, Path] = field(init=False)
    rust_stacks: Path | None = field(init=False)
    rust_client: Path | None = field(init=False)

    def __post_init__(self) -> None:
        self.raw_server = compile_c("anchors/raw_server.c")
        self.raw_client = compile_c("anchors/raw_client.c")
        self.raw_rtu_server = compile_c("anchors/raw_rtu_server.c")
        self.libmodbus = {}
        if Path("/usr/include/modbus/modbus.h").exists():
            flags = ("-I/usr/include/modbus", "-lmodbus")
            for role in ("server", "client"):
                self.libmodbus[role] = compile_c(f"peers/libmodbus_{role}.c", *flags)
        else:
            self.missing.append("libmodbus: needs the Debian package libmodbus-dev: run `make peers`")
        self.rust_stacks = self._built(RUST_STACKS, "tokio-modbus, voltage_modbus", "run `make peers`")
        self.rust_client = self._built(RUST_CLIENT, "fieldrig's client in Rust", "run `make bench`")

    def _built(self, program: Path, what: str, remedy: str) -> Path | None:
        if program.exists():
            return program.resolve()
        self.missing.append(f"{what}: {program} is not built: {remedy}")
        return None


def comparisons() -> tuple[list[Comparison], list[str]]:
    """All comparisons that can be made here, and what is missing for the others."""
    programs = Programs()
    rows = [
        python_blocking(programs),
        python_batch(programs),
        *(rust_clients(programs, depth) for depth in DEPTHS),
        *(servers(programs, depth) for depth in DEPTHS),
        python_handlers(programs),
        clients_on_a_pty(programs),
    ]
    return rows, programs.missing


def python_blocking(programs: Programs) -> Comparison:
    """Our blocking call from Python."""
    server: Command = [programs.raw_server]
    return Comparison(
        "Python client, Modbus/TCP, blocking read of 10 registers, depth 1 (server: raw loop in C)",
        "p50_ns",
        2000,
        [
            Entrant("raw socket in Python", server, python_client("raw")),
            *(
                Entrant(f"fieldrig, trace {level}", server, python_client(f"fieldrig-{level}"), 0.68)
                for level in LEVELS
            ),
            Entrant("pymodbus sync", server, python_client("pymodbus")),
            Entrant("pyModbusTCP", server, python_client("pyModbusTCP")),
        ],
    )


def python_batch(programs: Programs) -> Comparison:
    """Our lists of blocks from Python."""
    server: Command = [programs.raw_server]
    batches = [(f"fieldrig, trace {level}", f"fieldrig-batch-{level}", 0.30) for level in LEVELS]
    return Comparison(
        "Python client, lists of 160 reads of 10 registers, 16 in flight (server: raw loop in C)",
        "elapsed_ns",
        3200,
        [
            Entrant("raw loop in C, depth 16", server, [programs.raw_client, PORT, "16"]),
            *(Entrant(name, server, python_client(client), target) for name, client, target in batches),
            Entrant("raw socket in Python", server, python_client("raw-batch")),
            Entrant("pymodbus async, gather", server, python_client("pymodbus-batch")),
        ],
    )


def rust_clients(programs: Programs, depth: int) -> Comparison:
    """Our client in Rust at one depth."""
    server: Command = [programs.raw_server]
    words = (PORT, str(depth))
    entrants = [Entrant("raw loop in C", server, [programs.raw_client, *words])]
    if programs.rust_client is not None:
        target = {1: 0.88, 16: 0.5}[depth]
        ours = programs.rust_client
        entrants += [Entrant(f"fieldrig, trace {level}", server, [ours, *words, level], target) for level in LEVELS]
    if programs.rust_stacks is not None:
        # tokio-modbus has one request in flight.
        stacks = ("tokio-modbus", "voltage_modbus") if depth == 1 else ("voltage_modbus",)
        entrants += [Entrant(stack, server, [programs.rust_stacks, "bench_client", stack, *words]) for stack in stacks]
    if programs.libmodbus and depth == 1:
        entrants.append(Entrant("libmodbus", server, [programs.libmodbus["client"], "tcp", PORT]))
    metric = "p50_ns" if depth == 1 else "elapsed_ns"
    title = f"Rust and C clients, Modbus/TCP, 10 registers, depth {depth} (server: raw loop in C)"
    return Comparison(title, metric, 3200, entrants)


def servers(programs: Programs, depth: int) -> Comparison:
    """All servers under the raw client at one depth."""
    target = {1: 0.93, 16: 0.4}[depth]
    all_servers: list[tuple[str, Command, float | None]] = [("raw loop in C", [programs.raw_server], None)]
    all_servers += [(f"fieldrig, trace {level}", python_server(f"fieldrig-{level}"), target) for level in LEVELS]
    if programs.libmodbus:
        all_servers.append(("libmodbus", [programs.libmodbus["server"]], None))
    if programs.rust_stacks is not None:
        stacks = ("tokio-modbus", "voltage_modbus")
        all_servers += [(stack, [programs.rust_stacks, "bench_server", stack], None) for stack in stacks]
    all_servers.append(("pymodbus", [sys.executable, "-m", "fieldrig.demo.foreign_server"], None))
    client = [programs.raw_client, PORT, str(depth)]
    entrants = [Entrant(name, server, client, target) for name, server, target in all_servers]
    metric = "p50_ns" if depth == 1 else "elapsed_ns"
    return Comparison(f"Modbus/TCP server, 10 registers, depth {depth} (client: raw loop in C)", metric, 3200, entrants)


def python_handlers(programs: Programs) -> Comparison:
    """Servers that call Python for each request: what counts is the CPU time that takes."""
    client = [programs.raw_client, PORT, "1"]
    foreign = [sys.executable, "tests/interop/servers/pymodbustcp_server.py"]
    ours = [(f"fieldrig, trace {level}", python_server(f"fieldrig-handler-{level}")) for level in LEVELS]
    return Comparison(
        "Modbus/TCP server, Python for each request, 10 registers, depth 1, server CPU (client: raw loop in C)",
        "server_cpu_ns",
        2000,
        [Entrant("pyModbusTCP", foreign, client), *(Entrant(name, server, client, 1.0) for name, server in ours)],
    )


def clients_on_a_pty(programs: Programs) -> Comparison:
    """Clients on a line that has no speed."""
    server: Command = [programs.raw_rtu_server]
    clients: list[tuple[str, Command]] = [
        ("raw descriptor in Python", python_client("raw-rtu")),
        ("fieldrig, trace full, t3.5", python_client("fieldrig-rtu")),
        ("fieldrig, trace full, no t3.5", python_client("fieldrig-rtu-at-once")),
        ("pymodbus sync", python_client("pymodbus-rtu")),
        ("minimalmodbus", python_client("minimalmodbus-rtu")),
    ]
    if programs.libmodbus:
        clients.append(("libmodbus", [programs.libmodbus["client"], "rtu", PORT]))
    return Comparison(
        "RTU over a pty at 115200 baud, blocking read of 10 registers (server: raw loop in C)",
        "p50_ns",
        400,
        [Entrant(name, server, client) for name, client in clients],
    )
