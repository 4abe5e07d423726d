"""Links on which fieldrig stands in between: a wire with two sides, and a network path; disturbed, cut, given back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig.bench import Bench, BenchPlan
from fieldrig.errors import UsageError

POLLER = """
from fieldrig.model import Lost, Model, NoAnswer, Point


class Poller(Model):
    points = {"answers": Point("int"), "failures": Point("int")}

    async def run(self):
        async for _ in self.every("100ms"):
            try:
                await self.bus.read_input(address=0, count=1, unit=1, timeout="50ms")
                self.set("answers", self.get("answers") + 1)
            except (NoAnswer, Lost):
                self.set("failures", self.get("failures") + 1)
"""
METER = """
[model]
name = "meter"
[points.voltage]
kind = "int"
[face.bus.map]
voltage = { table = "input", address = 0 }
"""
WIRE = 'protocol = "modbus-rtu"\nline = "9600 8E1"'
PATH = 'protocol = "modbus-tcp"'


def bench_file(folder: Path, link: str, clock: str) -> Path:
    (folder / "poller.py").write_text(POLLER)
    (folder / "meter.toml").write_text(METER)
    (folder / "bench.toml").write_text(
        f'[bench]\nname = "between"\nclock = "{clock}"\n[link.bus]\nrole = "proxy"\n{link}\n'
        '[dut.poller]\nmodel = "poller.py:Poller"\nlinks = { bus = "client" }\n'
        '[peer.meter]\nmodel = "meter.toml"\nlink = "bus"\nunit = 1\n'
    )
    return folder / "bench.toml"


@pytest.fixture(params=[WIRE, PATH], ids=["wire", "path"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with BenchPlan.load(bench_file(tmp_path, request.param, "virtual")).open(out=tmp_path / "out") as bench:
        yield bench


def polls(bench: Bench, duration: str) -> tuple[int, int]:
    """How many polls were answered, and how many were not, in so much time."""
    poller = bench.device("poller")
    before = poller.get("answers"), poller.get("failures")
    bench.sleep(duration)
    return poller.get("answers") - before[0], poller.get("failures") - before[1]


def test_what_passes_the_proxy_arrives(bench: Bench) -> None:
    bench.sleep("1s")
    assert polls(bench, "1s") == (10, 0)


def test_what_the_proxy_disturbs_does_not_arrive_until_the_test_is_over(bench: Bench) -> None:
    bench.sleep("1s")
    bench.bus.fault("delay", direction="responses", delay="80ms")
    bench.sleep("200ms")
    answered, failed = polls(bench, "1s")
    assert answered == 0 and failed > 0
    bench.restart("the next test")
    bench.sleep("1s")
    assert polls(bench, "1s") == (10, 0)


@pytest.mark.parametrize("how", ["refused", "stalled"])
def test_a_link_that_is_down_carries_nothing_and_comes_back(bench: Bench, how: str) -> None:
    bench.sleep("1s")
    bench.bus.down(how=how)
    bench.sleep("200ms")
    answered, failed = polls(bench, "1s")
    assert answered == 0 and failed > 0
    bench.bus.up()
    bench.sleep("5s")
    assert polls(bench, "1s") == (10, 0)


def test_a_wrong_direction_and_a_wrong_fault_are_told(bench: Bench) -> None:
    with pytest.raises(UsageError, match='direction= is "requests"'):
        bench.bus.fault("drop", direction="sideways")
    with pytest.raises(UsageError, match="there is no fault .explode."):
        bench.bus.fault("explode")
    with pytest.raises(UsageError, match="the fault `delay` needs delay="):
        bench.bus.fault("delay")


def test_both_kinds_work_on_real_time_too(tmp_path: Path) -> None:
    for name, link in (("wire", WIRE), ("path", PATH)):
        folder = tmp_path / name
        folder.mkdir()
        with BenchPlan.load(bench_file(folder, link, "real")).open(out=folder / "out") as bench:
            poller = bench.device("poller")
            for _ in range(400):
                if poller.get("answers") >= 3:
                    break
                bench.sleep("50ms")
            assert poller.get("answers") >= 3, name
