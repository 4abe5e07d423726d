"""`fieldrig doctor`: what it prints of what the core measured, and what to add."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import Any

import pytest

from fieldrig import _core, cli
from fieldrig.cli import doctor

REFUSED = "Operation not permitted (os error 1)"


def lateness(count: int, p999: float | None) -> SimpleNamespace:
    bars = [(1e-6, count - 3), (1e-4, 0), (None, 3)]
    return SimpleNamespace(count=count, p50=4e-7, p99=3.7e-5, p999=p999, max=0.012, missed=3, histogram=bars)


def checkup(name: str, *facts: tuple[str, str, str | None], p999: float | None = 1e-3) -> SimpleNamespace:
    granted = name == "A"
    late = lateness(5000, p999)
    stall = SimpleNamespace(kind="stopped", latest_ns=20_000_000, reason="this process stood still for 15 ms to 20 ms")
    step = ("real-time scheduling", granted, "SCHED_FIFO 50" if granted else REFUSED)
    return SimpleNamespace(
        timing_class=name, steps=[step], wakes=late, deadlines=late, explained=0.97, stalls=(stall,), facts=list(facts)
    )


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the core is to find, under `checkup`; what it was asked, under `asked`."""
    told: dict[str, Any] = {}

    def examine(period: str, length: str, *, cpu: int | None) -> SimpleNamespace:
        told["asked"] = (period, length, cpu)
        made = told["checkup"]
        assert isinstance(made, SimpleNamespace)
        return made

    monkeypatch.setattr(doctor, "_core", SimpleNamespace(examine=examine))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    return told


def test_in_class_a_nothing_is_to_be_added(found: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    found["checkup"] = checkup("A", ("kernel", "6.12, PREEMPT_RT", None))
    assert cli.main(["doctor", "--seconds", "2.5", "--period", "500us", "--cpu", "1"]) == 0
    assert found["asked"] == ("500us", "2500ms", 1)
    shown = capsys.readouterr().out
    for part in ("timing class A", "SCHED_FIFO 50", "0.4", "37", "12000", "97%", "stood still", "PREEMPT_RT"):
        assert part in shown
    assert "for class A" not in shown and "p99.9 needs" not in shown


@pytest.mark.parametrize(("facts", "first"), [([], "limits.d"), ([("container", "Docker", None)], "container")])
def test_without_it_the_lines_that_fit_come_first(
    facts: list[tuple[str, str, None]], first: str, found: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    found["checkup"] = checkup("C", *facts, p999=None)
    assert cli.main(["doctor"]) == 4
    shown = capsys.readouterr().out
    assert REFUSED in shown and "p99.9 needs 3000 deadlines" in shown
    assert first in shown[shown.index("for class A") :].splitlines()[0]
    for line in ("- rtprio 60", "- memlock unlimited", "LimitRTPRIO=60", "AmbientCapabilities=CAP_SYS_NICE"):
        assert line in shown
    assert "--cap-add SYS_NICE" in shown


def test_json_has_everything(found: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    found["checkup"] = checkup("B", ("control group", "cpu.rt_runtime_us is 0", "no real-time scheduling"))
    assert cli.main(["doctor", "--format", "json"]) == 4
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["timing_class"], told["exit"], told["deadlines"]["missed"]) == ("B", 4, 3)
    assert told["stalls"][0]["kind"] == "stopped"
    assert "rt_runtime_us" in told["remedies"][0]["lines"][0]


@pytest.mark.parametrize(
    "wrong",
    [
        ("--seconds", "0"),
        ("--period", "1ns"),
        ("--period", "5"),
        ("--seconds", "nan"),
        ("--period", "2s"),
        ("--cpu", "2"),
    ],
)
def test_what_cannot_be_measured_is_a_usage_error(wrong: tuple[str, str], found: dict[str, Any]) -> None:
    assert cli.main(["doctor", *wrong]) == 2
    assert not found


def test_this_host_can_be_measured() -> None:
    checkup = _core.examine("1ms", "30ms")
    assert checkup.deadlines.count == 30 == sum(count for _, count in checkup.deadlines.histogram)
    assert checkup.deadlines.p50 <= checkup.deadlines.p99 <= checkup.deadlines.max
    assert checkup.deadlines.p999 is None
    assert [step for step, _, _ in checkup.steps][1] == "real-time scheduling"
    assert checkup.timing_class == "A" or not checkup.steps[1][1]
