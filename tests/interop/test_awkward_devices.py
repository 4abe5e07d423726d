"""Devices on serial lines that are right, and awkward: no row may accuse them.

They are slow, their answers come in lumps as USB adapters deliver them, they are deaf for a while behind frames that
are wrong or for others, a line has two stop bits. `servers/awkward_device.py` is a program without fieldrig.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from fieldrig.suites.modbus_server import rows
from fieldrig.suites.modbus_server.judge import judge
from fieldrig.suites.modbus_server.outcome import Row, requirements
from fieldrig.suites.modbus_server.probe import ProbeFailure
from fieldrig.suites.modbus_server.saboteurs.device import judged_rows

from .foreign import SERVERS
from .serial_servers import probed

CAPABILITIES = Path(__file__).parent / "capabilities_awkward.toml"
COARSE = 0.08
"""As --resolution: silences between frames become long, for a device that goes by the clock of a busy machine."""
DEVICES = {
    "late": ("rtu", "19200+8N1", ["delay=0.06"], ("RTU-01", "RTU-04", "RTU-06", "RTU-08", "RTU-1", "RTU-2")),
    "in lumps": ("rtu", "19200+8N2", ["lump=3"], ("RTU", "PDU-0", "FC03", "FC16", "ROB-07")),
    "deaf": ("rtu", "19200+8N1", ["deaf=0.005"], ("RTU-0", "RTU-1", "RTU-22", "FC06")),
    "ascii in lumps": ("ascii", "19200+8N1", ["lump=6", "delay=0.02"], ("ASC", "PDU-0", "FC03")),
}
"""Transport, line, words of the program, and the rows that judge it."""
PIECES = 4
"""How many processes share the rows of a device."""

Judged = dict[str, "list[Future[list[Row]]]"]


@contextlib.contextmanager
def device(transport: str, line: str, words: list[str]) -> Iterator[str]:
    """Runs a device; gives its URL."""
    command = [sys.executable, str(SERVERS / "awkward_device.py"), transport, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"{transport}://{process.stdout.readline().strip()}?line={line}"
        finally:
            process.kill()


def judged_by(name: str, share: int) -> list[Row]:
    """What some of the rows say of a device; those that could not be decided on a busy machine are asked again."""
    transport, line, words, wanted = DEVICES[name]
    ids = [row for row in judged_rows() if row.startswith(wanted) and transport in requirements()[row].carriers]
    found = []
    with device(transport, line, words) as url, probed(url, COARSE, CAPABILITIES) as server:
        for row in ids[share::PIECES]:
            found.append(judge(requirements()[row], rows.tests()[row], server))
            if found[-1].verdict == "inconclusive":
                found[-1] = judge(requirements()[row], rows.tests()[row], server)
    return found


@pytest.fixture(scope="module")
def judged() -> Iterator[Judged]:
    """All devices, at the same time."""
    with ThreadPoolExecutor(PIECES * len(DEVICES)) as pool:
        yield {name: [pool.submit(judged_by, name, share) for share in range(PIECES)] for name in DEVICES}


@pytest.mark.parametrize("name", DEVICES)
def test_no_row_accuses_a_device_that_is_right(name: str, judged: Judged) -> None:
    found = [row for share in judged[name] for row in share.result()]
    fine = ("pass", "reported", "not applicable", "not run", "excluded by probe")
    wrong = {row.requirement.id: f"{row.verdict}: {row.says}" for row in found if row.verdict not in fine}
    assert not wrong
    assert sum(row.verdict == "pass" for row in found) > len(found) / 2, "it was hardly judged"


def test_line_that_echoes_is_the_benchs_affair() -> None:
    with device("rtu", "19200+8N1", ["echo=1"]) as url, pytest.raises(ProbeFailure, match="echo"):
        with probed(url, COARSE, CAPABILITIES):
            pass
