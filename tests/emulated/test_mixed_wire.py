"""A real device on a wire whose others stay emulated: heard, answered, and accused only over a wire that works."""

from __future__ import annotations

import os
import select
import threading
import tty
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fieldrig import modbus
from fieldrig.bench import Bench, BenchPlan
from fieldrig.errors import ExpectationFailed, InconclusiveError, ObserverBlind

BENCH = """
[bench]
name = "mixed"
[link.bus485]
protocol = "modbus-rtu"
line = "115200 8N1"
role = "devices"
real = {{ port = "{port}" }}
[dut.gateway]
links = {{ bus485 = "client" }}
[peer]
meter1 = {{ model = "meter.toml", link = "bus485", unit = 1 }}
meter2 = {{ model = "meter.toml", link = "bus485", unit = 2 }}
"""
METER = """
[model]
name = "meter"
[points.voltage]
kind = "float"
initial = 230.0
[face.bus485]
map = { voltage = { table = "input", address = 0, type = "u16", scale = 0.1 } }
"""


class Gateway:
    """The real gateway: whoever sits at the far end of the wire."""

    def __init__(self, wire: int) -> None:
        self.wire = wire

    def ask(self, unit: int, answered: bool = True) -> bytes:
        """Polls a meter; gives what came back."""
        os.write(self.wire, modbus.adu_rtu(unit, bytes.fromhex("04 0000 0001")))
        came = b""
        while answered and len(came) < 7:
            ready, _, _ = select.select([self.wire], [], [], 30)
            assert ready, f"only {came.hex(' ')} came back"
            came += os.read(self.wire, 256)
        return came


@pytest.fixture
def far_end() -> Iterator[tuple[int, str]]:
    far, near = os.openpty()
    tty.setraw(near)
    try:
        yield far, os.ttyname(near)
    finally:
        os.close(far)
        os.close(near)


@pytest.fixture
def bench(tmp_path: Path, far_end: tuple[int, str]) -> Iterator[Bench]:
    (tmp_path / "bench.toml").write_text(BENCH.format(port=far_end[1]))
    (tmp_path / "meter.toml").write_text(METER)
    with BenchPlan.load(tmp_path / "bench.toml", ["gateway=real"]).open(tmp_path / "out") as opened:
        opened.restart("test")
        yield opened


@pytest.fixture
def gateway(far_end: tuple[int, str]) -> Gateway:
    return Gateway(far_end[0])


def test_the_real_device_is_answered_and_heard(bench: Bench, gateway: Gateway) -> None:
    change = bench.peers["meter2"].set("voltage", 231.7)
    assert gateway.ask(2)[:5] == bytes.fromhex("02 04 02 09 0d")
    asked = bench.bus485.expect(request_to="meter2", after=change, within="30s")
    answer = bench.device("gateway").bus485.expect(response_from="meter2", within="30s")
    assert (answer.request, answer.values) == (asked.number, (2317,))
    # Neither is known to the instant: when the request came, and when the answer left.
    assert asked.at.earliest_ns < asked.at.latest_ns
    assert answer.at.earliest_ns < answer.at.latest_ns


def test_a_dead_meter_is_asked_in_vain(bench: Bench, gateway: Gateway) -> None:
    outage = bench.peers["meter1"].fault("no_answer")
    gateway.ask(1, answered=False)
    bench.bus485.expect(request_to="meter1", after=outage, within="30s")
    gateway.ask(2)
    bench.bus485.expect(response_from="meter2", after=outage, within="30s")
    first, second = bench.bus485.exchanges(outage)
    assert (first.request.unit, first.response, second.request.unit) == (1, None, 2)
    assert second.response is not None


def test_nobody_is_accused_over_a_wire_that_was_never_heard(bench: Bench, gateway: Gateway) -> None:
    with pytest.raises(InconclusiveError, match="nothing was ever heard from the other side of this wire"):
        bench.bus485.expect(request_to="meter1", within="50ms")
    gateway.ask(2)
    bench.bus485.expect(request_to="meter2", within="30s")
    with pytest.raises(ExpectationFailed):
        bench.bus485.expect(request_to="meter1", within="50ms")


def test_a_silence_counts_once_the_other_side_was_heard_behind_it(bench: Bench, gateway: Gateway) -> None:
    gateway.ask(2)
    with pytest.raises(ObserverBlind, match="nothing was heard on this wire after it"):
        bench.bus485.expect_none(request_to="meter1", for_="1ms")
    over = threading.Event()

    def poll() -> None:
        while not over.is_set():
            gateway.ask(2)

    with ThreadPoolExecutor(1) as threads:
        polling = threads.submit(poll)
        try:
            bench.bus485.expect_none(request_to="meter1", for_="20ms")
        finally:
            over.set()
            polling.result(60)
