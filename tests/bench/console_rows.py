"""The rows about consoles: a round trip, and 2.3 MB before the match, on a pty.

labgrid and pytest-embedded bring a module `serial` of their own, so each has a virtual environment below
`build/bench-peers`, made here when it is missing. Where that is impossible they are left out and named.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.bench.rows import HERE, PORT, Command, Comparison, Entrant, compile_c

PEERS = Path("build/bench-peers")
PACKAGES = {"labgrid": ["labgrid"], "pytest-embedded": ["pytest-embedded", "pytest-embedded-serial"]}
PROGRAM = HERE / "peers" / "console.py"


def consoles(missing: list[str]) -> list[Comparison]:
    """Both rows; what cannot be had here is added to `missing`."""
    server: Command = [compile_c("anchors/raw_console.c")]
    pythons = {name: python for name in PACKAGES if (python := _python(name, missing)) is not None}

    def client(name: str, kind: str) -> Command:
        return [pythons.get(name, Path(sys.executable)), PROGRAM, name, kind, PORT]

    def entrants(kind: str, baseline: str, others: list[str]) -> list[Entrant]:
        ours = [Entrant(f"fieldrig, trace {level}", server, client(f"fieldrig-{level}", kind), 0.5) for level in LEVELS]
        raw = [Entrant(NAMES[name], server, client(name, kind)) for name in (baseline, *others)]
        return [raw[0], *ours, *raw[1:], *(Entrant(name, server, client(name, kind)) for name in pythons)]

    return [
        Comparison(
            "Console on a pty: send a line, expect the answer (device: raw loop in C)",
            "p50_ns",
            100,
            entrants("ping", "pyserial", ["raw", "pyserial-until"]),
        ),
        Comparison(
            "Console on a pty: 2.3 MB and then the match (device: raw loop in C)",
            "elapsed_ns",
            4,
            entrants("flood", "raw", ["pyserial"]),
        ),
    ]


NAMES = {
    "raw": "raw descriptor in Python",
    "pyserial": "raw pySerial",
    "pyserial-until": "pySerial, read_until",
}
LEVELS = ("full", "counts")


def _python(name: str, missing: list[str]) -> Path | None:
    """The interpreter that has a peer; its environment is made if it is missing."""
    folder = PEERS / name
    python = folder / "bin" / "python"
    done = folder / "complete"
    if not done.exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True, capture_output=True)
            install = [python, "-m", "pip", "install", "--quiet", *PACKAGES[name]]
            subprocess.run(install, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            missing.append(
                f"{name}: `pip install {' '.join(PACKAGES[name])}` into {folder} failed: is there a network?"
            )
            return None
        done.touch()
    return python.absolute()
