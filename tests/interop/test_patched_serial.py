"""The patches that prove the suite's rows about serial lines on our own device, in front of servers nobody here wrote.

Rows that a server passes (expected_serial.toml) must fail when their patch stands between. Left out are those whose
patch goes by silences that a pty does not have; and with libmodbus, which is deaf behind a request for another unit,
those whose patch asks it again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from fieldrig.suites.modbus_server import rows
from fieldrig.suites.modbus_server.judge import judge
from fieldrig.suites.modbus_server.outcome import Row, requirements
from fieldrig.suites.modbus_server.saboteurs import SABOTEURS

from .serial_servers import EXPECTED, command, probed, running

PATCHED = {
    ("modbus_tk", "rtu"): [
        "RTU-01", "RTU-02", "RTU-03", "RTU-04", "RTU-05", "RTU-06", "RTU-07", "RTU-08", "RTU-11", "RTU-12", "RTU-20",
        "RTU-21",
    ],
    ("libmodbus", "rtu"): ["RTU-01", "RTU-02", "RTU-03", "RTU-06", "RTU-18"],
    ("pymodbus", "rtu"): ["RTU-01", "RTU-03", "RTU-18"],
    ("pymodbus", "ascii"): ["ASC-01", "ASC-02", "ASC-03", "ASC-05", "ASC-07", "ASC-08", "ASC-12", "ASC-14"],
}  # fmt: skip
"""The rows, by server and transport."""
PIECES = 4
"""How many processes of each server share its rows."""
GIVE_UP = 0.8
"""How long a patch waits for an answer (seconds): libmodbus waits for half a second before it says no."""

Judged = dict[tuple[str, str], "list[Future[dict[str, Row]]]"]


def judged_by(start: list[str], transport: str, names: list[str]) -> dict[str, Row]:
    """What rows say of a server, each behind its patch."""
    found = {}
    with running(start, transport) as url:
        for name in names:
            patch = SABOTEURS[name].patch
            assert patch is not None, name
            with probed(url, patch=patch(), give_up=GIVE_UP) as server:
                found[name] = judge(requirements()[name], rows.tests()[name], server)
    return found


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    """All of them, under way."""
    with contextlib.ExitStack() as ends:
        pool = ends.enter_context(ThreadPoolExecutor(PIECES * len(PATCHED)))
        begun: Judged = {}
        for (name, transport), names in PATCHED.items():
            folder: Path = tmp_path_factory.mktemp(name)
            start = command(name, transport, folder)
            begun[name, transport] = [
                pool.submit(judged_by, start, transport, names[piece::PIECES]) for piece in range(PIECES)
            ]
        yield begun


@pytest.mark.parametrize(("name", "transport"), PATCHED)
def test_rows_that_a_foreign_serial_server_passes_find_their_patch(name: str, transport: str, judged: Judged) -> None:
    assert set(PATCHED[name, transport]) <= set(EXPECTED[name][transport]["pass"]), "they pass without it"
    found = {row: result for piece in judged[name, transport] for row, result in piece.result().items()}
    survived = {row: result.says for row, result in found.items() if result.verdict not in ("fail", "advice")}
    assert not survived
