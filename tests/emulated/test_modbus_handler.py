"""Handlers: Python functions that answer requests in the place of an emulated Modbus device."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from pymodbus.client import ModbusTcpClient

from fieldrig import Rig, handling, modbus
from fieldrig.errors import BenchError, ExceptionAnswer, UsageError
from fieldrig.model import watchdog
from tests.emulated.test_modbus_routes import ROUTES

PROGRAM = Path(__file__).parent / "programs" / "handles.py"


def scripted(request: modbus.Request) -> modbus.Reply:
    """Answers for addresses from 1000 on; the rest is the device's."""
    if request.address is None or request.address < 1000:
        return None
    if request.address == 1002:
        return modbus.Refuse(2)
    if request.address == 1003:
        raise modbus.Refuse(0x42)
    if request.address == 1004:
        return bytes([request.function, 2, 0xAB, 0xCD])
    if request.values:
        return True
    assert request.count is not None
    if request.table in ("coils", "discrete"):
        return [number % 2 == 0 for number in range(request.count)]
    return range(request.address, request.address + request.count)


def records(folder: Path, kind: str) -> list[dict[str, object]]:
    [log] = folder.rglob("run.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line["fields"] for line in lines if line.get("kind") == kind]


@pytest.mark.parametrize(("clock", "url"), ROUTES)
def test_a_handler_answers_on_every_transport(clock: Literal["real", "virtual"], url: str, tmp_path: Path) -> None:
    url = url.replace("FOLDER", str(tmp_path))
    with (
        Rig(trace="counts", clock=clock) as rig,
        contextlib.ExitStack() as stack,
    ):
        rig.add_wire("bus", line="115200 8N1")
        device = stack.enter_context(
            modbus.Device(url, holding={0: [7, 8]}, coils={0: [True]}, handler=scripted, rig=rig)
        )
        client = stack.enter_context(modbus.Client(device.url, timeout="5s", rig=rig))
        assert client.read_holding(0, 2).values == (7, 8)
        assert client.read_holding(1000, 2).values == (1000, 1001)
        assert client.read_input(1010, 1).values == (1010,)
        assert client.read_coils(1000, 3).values == (True, False, True)
        for address, code in ((1002, 2), (1003, 0x42)):
            with pytest.raises(ExceptionAnswer) as caught:
                client.read_holding(address)
            assert caught.value.facts["code"] == code
        assert client.read_holding(1004).values == (0xABCD,)
        client.write_register(1000, 5)
        client.write_registers(1000, [1, 2])
        client.write_register(0, 9)
        assert device.get("holding", 0) == (9,)


def test_a_request_says_everything_about_itself() -> None:
    seen: list[modbus.Request] = []
    with (
        Rig(clock="virtual") as rig,
        modbus.Device(
            "memory-listen://meter", holding={0: [1] * 20}, coils={0: [0] * 20}, handler=seen.append, rig=rig
        ) as device,
        modbus.Client(device.url, rig=rig, transactions="fixed:77") as client,
    ):
        rig.sleep("3s")
        client.read_holding(2, 3)
        client.write_registers(4, [5, 6])
        client.write_coils(7, [True, False])
        client.mask_write(8, and_mask=0xF0, or_mask=3)
        client.read_write_registers(1, 2, 3, [9])
        with pytest.raises(ExceptionAnswer):
            client.raw_pdu(b"\x41\x01")
    about = [(r.function, r.table, r.address, r.count, r.write_address, r.values) for r in seen]
    assert about == [
        (3, "holding", 2, 3, None, ()),
        (16, "holding", 4, 2, 4, (5, 6)),
        (15, "coils", 7, 2, 7, (True, False)),
        (22, "holding", 8, 1, 8, (0xF0, 3)),
        (23, "holding", 1, 2, 3, (9,)),
        (0x41, None, None, None, None, ()),
    ]
    first = seen[0]
    assert (first.unit, first.transaction, first.connection, first.broadcast) == (1, 77, 1, False)
    assert first.pdu == b"\x03\x00\x02\x00\x03"
    assert 3 <= first.at.earliest == first.at.latest < 3.001
    assert repr(first) == "<Request ReadHoldingRegisters { address: 2, quantity: 3 } to unit 1>"


def test_what_a_handler_takes_is_in_the_run_log(tmp_path: Path) -> None:
    with (
        Rig(clock="virtual", folder=tmp_path) as rig,
        modbus.Device("memory-listen://meter", holding={0: [1]}, handler=scripted, rig=rig) as device,
        modbus.Client(device.url, rig=rig) as client,
    ):
        client.read_holding(0)
        client.read_holding(1000, 2)
        with pytest.raises(ExceptionAnswer):
            client.read_holding(1002)
    told = records(tmp_path, "modbus.handled")
    assert [(entry["handler"], entry["what"], entry["request"]) for entry in told] == [
        ("scripted", "values [1000, 1001]", "03 03 e8 00 02"),
        ("scripted", "exception 02", "03 03 ea 00 01"),
    ]


def test_no_answer_is_silence_and_rules_go_with_a_handler() -> None:
    silent = 5

    def answer(request: modbus.Request) -> modbus.Reply:
        return modbus.NO_ANSWER if request.address == silent else [request.address or 0]

    rules = [{"when": {"address": 1}, "exception": 6}, {"when": {"address": 2}, "delay": "250ms"}]
    with (
        Rig(clock="virtual") as rig,
        modbus.Device("memory-listen://meter", rules=rules, handler=answer, rig=rig) as device,
        modbus.Client(device.url, rig=rig, timeout="1s") as client,
    ):
        assert client.read_holding(3).values == (3,)
        with pytest.raises(ExceptionAnswer, match="exception 0x06"):
            client.read_holding(1)
        late = client.read_holding(2)
        assert late.values == (2,)
        assert 0.25 <= late.latency.earliest < 0.251
        with pytest.raises(TimeoutError):
            client.read_holding(silent)


def test_a_foreign_client_gets_what_a_handler_says() -> None:
    with modbus.Device(holding={0: [3]}, handler=scripted) as device:
        port = int(device.url.rpartition(":")[2])
        client = ModbusTcpClient("127.0.0.1", port=port, retries=0)
        assert client.connect()
        try:
            assert client.read_holding_registers(1000, count=3, device_id=1).registers == [1000, 1001, 1002]
            assert client.read_holding_registers(0, count=1, device_id=1).registers == [3]
            assert client.read_coils(1000, count=2, device_id=1).bits[:2] == [True, False]
            assert client.read_holding_registers(1002, count=1, device_id=1).exception_code == 2
            assert not client.write_registers(1000, [1, 2], device_id=1).isError()
        finally:
            client.close()


def divides(request: modbus.Request) -> modbus.Reply:
    return [1 // (request.address or 0)]


def test_a_handler_that_raises_is_the_fault_of_the_bench(tmp_path: Path) -> None:
    rig = Rig(folder=tmp_path)
    device = modbus.Device(handler=divides, rig=rig)
    with modbus.Client(device.url) as client:
        assert client.read_holding(1).values == (1,)
        for _ in range(2):
            with pytest.raises(ExceptionAnswer) as answered:
                client.read_holding(0)
            assert answered.value.facts["code"] == 4
        assert client.read_holding(1).values == (1,)
    with pytest.raises(BenchError) as caught:
        device.close()
    first, *trace = caught.value.message.splitlines()
    assert first.startswith(f"the handler divides of {device.url} is broken (1 more requests after it): it raised Zero")
    assert first.endswith(", in divides)")
    assert (trace[0], trace[-1].partition(":")[0]) == ("Traceback (most recent call last):", "ZeroDivisionError")
    assert "return [1 // (request.address or 0)]" in caught.value.message
    assert str(caught.value).startswith("BENCH: ")
    device.close()
    rig.stop()
    failed = records(tmp_path, "modbus.handler_failed")
    assert [entry["request"] for entry in failed] == ["03 00 00 00 01"] * 2


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        ([1, 2], "it gave 2 values to a request for 1"),
        ([-1], "it gave -1 for a register, which holds 0 to 65535"),
        (b"", "it gave no bytes at all for a PDU"),
        (True, "it says that function 3 is done, which writes nothing"),
        (
            False,
            "it gave False, which is no reply; None, values, bytes, True, modbus.Refuse(code) and modbus.NO_ANSWER",
        ),
        (7, "it gave 7, which is no reply"),
        ("17", "it gave '17', which is no reply"),
        ([1.5], "it gave [1.5], which is no reply"),
    ],
)
def test_what_is_no_reply_is_told(reply: object, complaint: str) -> None:
    def answer(request: modbus.Request) -> modbus.Reply:
        return reply  # type: ignore[return-value]

    with pytest.raises(BenchError) as caught, modbus.Device(handler=answer) as device:
        with modbus.Client(device.url) as client, pytest.raises(ExceptionAnswer, match="0x04"):
            client.read_holding(0)
    assert complaint in str(caught.value)


def test_a_handler_that_breaks_outweighs_what_the_test_then_says() -> None:
    with pytest.raises(BenchError, match="the handler divides") as caught, modbus.Device(handler=divides) as device:
        with modbus.Client(device.url) as client:
            client.read_holding(0)
    assert isinstance(caught.value.__context__, ExceptionAnswer)


def test_a_mistake_in_the_call_is_told_at_once() -> None:
    with pytest.raises(UsageError, match="a handler is a function that takes a request, not 7"):
        modbus.Device(handler=7)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="an exception code is 0 to 255, not 256"):
        modbus.Refuse(256)


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_a_handler_cannot_wait_for_the_bench(clock: Literal["real", "virtual"]) -> None:
    calls: list[Callable[[], object]] = []
    told: list[str] = []

    def answer(request: modbus.Request) -> modbus.Reply:
        for call in calls:
            with pytest.raises(UsageError) as caught:
                call()
            told.append(caught.value.message)
        return [1]

    with Rig(clock=clock) as rig:
        url = "memory-listen://a" if clock == "virtual" else "tcp://127.0.0.1:0"
        with modbus.Device(url, holding={0: [1]}, handler=answer, rig=rig) as device:
            with modbus.Client(device.url, rig=rig) as client:
                calls[:] = [lambda: device.get("holding", 0), lambda: client.read_holding(0), lambda: rig.sleep("1s")]
                assert client.read_holding(0).values == (1,)
    assert told == ["a handler cannot wait for the device that asks it, nor for anything else of a bench"] * 3


def test_a_handler_that_never_returns_is_ended_and_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "TICK", 0.02)
    calls: list[int] = []

    def answer(request: modbus.Request) -> modbus.Reply:
        calls.append(1)
        while True:
            pass

    with pytest.raises(BenchError, match=r"it did not return within 0\.2 s of real time \(.*, in answer\)") as caught:
        with modbus.Device(handler=answer) as device, modbus.Client(device.url, timeout="60s") as client:
            for _ in range(2):
                with pytest.raises(ExceptionAnswer, match="0x04"):
                    client.read_holding(0)
    assert len(calls) == 1
    assert "(1 more requests after it)" in str(caught.value)


def test_devices_with_handlers_of_one_rig_serve_many_clients_at_once() -> None:
    def at(number: int) -> Callable[[modbus.Request], modbus.Reply]:
        return lambda request: [number + (request.address or 0)]

    wrong: list[object] = []

    def ask(url: str, number: int) -> None:
        with modbus.Client(url) as client:
            wrong.extend(
                answer
                for address in range(50)
                if (answer := client.read_holding(address).values) != (number + address,)
            )

    with Rig() as rig:
        devices = [modbus.Device(handler=at(number), rig=rig) for number in (0, 1000, 2000)]
        threads = [
            threading.Thread(target=ask, args=(device.url, 1000 * number))
            for number, device in enumerate(devices)
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert handling.take() is None


def run_program(case: str) -> tuple[int, list[str], str]:
    command = [sys.executable, str(PROGRAM), case]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return ended.returncode, ended.stdout.splitlines(), ended.stderr


def test_ctrl_c_in_a_handler_on_virtual_time_comes_out_of_the_call() -> None:
    assert run_program("interrupt-virtual") == (0, ["interrupted", "(1,)"], "")


def test_ctrl_c_while_a_handler_hangs_ends_the_call() -> None:
    assert run_program("interrupt-real") == (0, ["interrupted", "broken: it did not return within 0.2 s"], "")


@pytest.mark.parametrize("case", ["exit-while-it-spins", "exit-while-it-sleeps"])
def test_the_interpreter_ends_although_a_handler_hangs(case: str) -> None:
    code, out, _ = run_program(case)
    assert (code, out) == (0, ["leaving"])


def test_a_failure_that_nobody_took_is_said_at_the_end() -> None:
    code, out, err = run_program("nobody-closes")
    assert (code, out) == (0, ["exception 4"])
    assert "BENCH: the handler divides of tcp://127.0.0.1:" in err
    assert "ZeroDivisionError" in err


MODEL = """
[model]
name = "meter"
[face.modbus]
holding = [1, 2, 3]
"""
BENCH = """
[bench]
name = "b"
clock = "virtual"
[link.modbus]
protocol = "modbus-tcp"
[dut.meter]
model = "meter.toml"
links = { modbus = "devices" }
"""


def run_pytest(folder: Path, source: str, *options: str) -> str:
    (folder / "meter.toml").write_text(MODEL)
    (folder / "bench.toml").write_text(BENCH)
    (folder / "test_it.py").write_text(textwrap.dedent(source))
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", *options, "test_it.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120).stdout


def test_on_a_bench_a_handler_answers_until_the_test_ends(tmp_path: Path) -> None:
    out = run_pytest(
        tmp_path,
        """
        from fieldrig import modbus

        def test_takes_over(meter):
            meter.handle("modbus", lambda request: [9] if request.address == 1 else None)
            assert [meter.modbus.read_holding(address).values[0] for address in range(3)] == [1, 9, 3]

        def test_is_itself_again(meter):
            assert meter.modbus.read_holding(1).values == (2,)

        def test_takes_it_away(meter):
            meter.handle("modbus", lambda request: modbus.Refuse(4))
            meter.handle("modbus", None)
            assert meter.modbus.read_holding(1).values == (2,)
        """,
        "--bench",
        "bench.toml",
    )
    assert "3 passed" in out, out


def test_a_broken_handler_makes_the_test_red_whatever_it_says(tmp_path: Path) -> None:
    source = """
        import pytest
        from fieldrig import modbus

        def divides(request):
            return [1 // request.address]

        def test_passes_on_a_broken_bench(meter):
            meter.handle("modbus", divides)
            with pytest.raises(Exception):
                meter.modbus.read_holding(0)

        def test_accuses_the_device(meter):
            meter.handle("modbus", divides)
            meter.modbus.read_holding(0)

        def test_had_proven_a_fail(meter, measure):
            measure("before", 2.0, unit="V", max=1.0)
            meter.handle("modbus", divides)
            with pytest.raises(Exception):
                meter.modbus.read_holding(0)

        def test_measures_on_a_broken_bench(meter, measure):
            meter.handle("modbus", divides)
            with pytest.raises(Exception):
                meter.modbus.read_holding(0)
            measure("after", 2.0, unit="V", max=1.0)

        def test_is_whole_again(meter):
            meter.modbus.read_holding(0)
        """
    out = run_pytest(tmp_path, source, "--bench", "bench.toml")
    summary = out.split("short test summary info")[1]
    for name in ("passes_on_a_broken_bench", "accuses_the_device", "measures_on_a_broken_bench"):
        assert f"FAILED test_it.py::test_{name} - BENCH:" in summary, out
    failures = out.split("short test summary info")[0]
    assert failures.count("BENCH: the handler divides of meter is broken: it raised ZeroDivisionError: ") == 4, out
    assert "FAILED test_it.py::test_had_proven_a_fail - DUT: measurements failed: before" in summary, out
    assert "PASSED test_it.py::test_is_whole_again" in summary, out
    assert "ZeroDivisionError" in out and "Traceback (most recent call last)" in out, out


def test_a_broken_handler_of_a_device_that_nobody_closes_makes_the_test_red(tmp_path: Path) -> None:
    source = """
        from fieldrig import modbus
        from fieldrig.errors import ExceptionAnswer

        def test_it():
            global device
            device = modbus.Device(handler=lambda request: 1 // 0)
            with modbus.Client(device.url) as client:
                try:
                    client.read_holding(0)
                except ExceptionAnswer:
                    pass
        """
    out = run_pytest(tmp_path, source)
    assert "FAILED test_it.py::test_it - BENCH: the handler test_it" in out, out
    assert "BENCH: the handler test_it.<locals>.<lambda> of tcp://127.0.0.1:" in out, out
