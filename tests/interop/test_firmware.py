"""The suite of examples/firmware against its firmware in QEMU, and what the bench says of the program that runs it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest

from fieldrig.bench import BenchPlan
from fieldrig.errors import NoAnswer, PortError, PortLost, Unanswered
from tests import needs
from tests.interop import firmware_rounds


@pytest.fixture(autouse=True)
def _qemu() -> None:
    needs.program("qemu-system-arm")


def test_the_suite_passes_on_the_firmware_in_qemu(tmp_path: Path) -> None:
    found = firmware_rounds.run(tmp_path, "--profile", "real")
    assert (found.code, found.red, found.not_run) == (0, [], 0), found.output
    assert found.passed == 20
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert {"program", "power", "peek", "program.ended"} <= set(kinds)


def test_a_qemu_that_dies_is_the_benchs_loss_and_is_started_again(tmp_path: Path) -> None:
    plan = BenchPlan.load(firmware_rounds.FIRMWARE / "bench.toml", ["real"])
    with plan.open(tmp_path) as bench:
        board = bench.device("board")
        before = bench.life.programs["board"].process
        os.kill(before, signal.SIGKILL)
        with pytest.raises((PortLost, PortError)) as lost:
            while True:
                with contextlib.suppress(NoAnswer, Unanswered):
                    board.modbus.read_holding(0)
        bench.after_error(lost.value, "test_it")
        assert bench.life.programs["board"].process != before
        assert board.modbus.read("version").value == 0x0100
