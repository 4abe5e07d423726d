"""Foreign Modbus servers on serial lines, and in TCP with the framing of serial lines; judged row by row.

A serial line is two ptys: the server opens one end, the suite the other, as it opens /dev/ttyUSB0.
"""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fieldrig import Rig, duration
from fieldrig.suites.modbus_server import capabilities, places, rows
from fieldrig.suites.modbus_server.judge import judge
from fieldrig.suites.modbus_server.outcome import Row, requirements
from fieldrig.suites.modbus_server.probe import probe
from fieldrig.suites.modbus_server.saboteurs import Patch
from fieldrig.suites.modbus_server.saboteurs.device import judged_rows
from fieldrig.suites.modbus_server.saboteurs.wire import patched
from fieldrig.suites.modbus_server.server import Server, Timing
from fieldrig.suites.modbus_server.stream_wire import clock_of

from .foreign import SERVERS, libmodbus_server
from .lines import line

HERE = Path(__file__).parent
EXPECTED: dict[str, dict[str, Any]] = tomllib.loads((HERE / "expected_serial.toml").read_text("utf-8"))
"""By server and transport: which rows judge it (ids, or beginnings of ids), and what they come to."""
CAPABILITIES = HERE / "capabilities_serial.toml"
JUDGED = [(name, transport) for name, transports in EXPECTED.items() for transport in transports]
QUICK = Timing(answer=0.5, silence=0.25)
ROWS_EACH = 9
"""How many rows one process of a server is judged by, about."""
LONG = ("RTU", "ASC", "EXC")
"""Rows that take long, and so begin first."""


def command(name: str, transport: str, folder: Path) -> list[str]:
    """How a server is started; on a line, the path of its end is still to be appended."""
    if name == "libmodbus":
        return libmodbus_server(folder)
    script = [sys.executable, str(SERVERS / f"{name}_server.py")]
    return [*script, transport] if name == "pymodbus" else script


@contextlib.contextmanager
def running(start: list[str], transport: str) -> Iterator[str]:
    """Runs a server; gives its URL."""
    with contextlib.ExitStack() as ends:
        ours, theirs = ends.enter_context(line()) if transport in ("rtu", "ascii") else ("", "")
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        process = ends.enter_context(subprocess.Popen([*start, theirs] if theirs else start, text=True, **pipes))
        ends.callback(process.kill)
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        assert said == "ready" if theirs else said.isdigit(), f"{start} said {said!r}"
        yield f"{transport}://{ours}?line=19200+8N1" if theirs else f"{transport}://127.0.0.1:{said}"


@contextlib.contextmanager
def probed(
    url: str,
    resolution: float | None = None,
    declared: Path = CAPABILITIES,
    patch: Patch | None = None,
    give_up: float = 0.0,
) -> Iterator[Server]:
    """The server at a URL, as rows see it; behind a patch, which believes after `give_up` that no answer comes."""
    place = places.parse(url, resolution=resolution)
    timing = place.timing(QUICK)
    with Rig(trace="counts") as rig:
        clock, opener = clock_of(rig), place.opener(rig, timing)
        server = Server(
            opener if patch is None else patched(opener, place.carrier, patch, clock, give_up),
            1,
            capabilities.load(declared),
            timing,
            carrier=place.carrier,
            clock=clock,
            silences=place.silences,
            resolution=place.resolution,
        )
        probe(server, url)
        yield server


def rows_of(name: str, transport: str) -> list[str]:
    """The rows by which a server is judged."""
    wanted = tuple(EXPECTED[name][transport]["rows"])
    return [row for row in judged_rows() if row.startswith(wanted) and transport in requirements()[row].carriers]


@dataclass
class Judgement:
    """All rows of a server, under way: several processes of it share them."""

    name: str
    transport: str
    folder: Path
    found: dict[str, Row] = field(default_factory=dict)
    workers: list[Future[None]] = field(default_factory=list)

    def begin(self, pool: ThreadPoolExecutor) -> None:
        """Starts the processes."""
        start = command(self.name, self.transport, self.folder)
        todo: queue.Queue[str] = queue.Queue()
        for row in sorted(rows_of(self.name, self.transport), key=lambda row: not row.startswith(LONG)):
            todo.put(row)
        self.workers = [pool.submit(self._work, start, todo) for _ in range(max(2, todo.qsize() // ROWS_EACH))]

    def rows(self) -> dict[str, Row]:
        """Waits for all of them."""
        for worker in self.workers:
            worker.result()
        return self.found

    def _work(self, start: list[str], todo: queue.Queue[str]) -> None:
        resolution = EXPECTED[self.name][self.transport].get("resolution")
        fine = None if resolution is None else duration(resolution)
        with contextlib.suppress(queue.Empty):
            while True:
                with running(start, self.transport) as url, probed(url, fine) as server:
                    self._judge(server, todo)

    def _judge(self, server: Server, todo: queue.Queue[str]) -> None:
        """Judges until a row could not be decided: that is asked once more of a new process. Raises `queue.Empty`."""
        while True:
            name = todo.get_nowait()
            row = judge(requirements()[name], rows.tests()[name], server)
            undecided = row.verdict in ("inconclusive", "not tested")
            if undecided and name not in self.found:
                todo.put(name)
            self.found[name] = replace(row, exchanges=row.exchanges[-8:])
            if undecided:
                return
