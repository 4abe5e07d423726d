"""The parts of the suite for Modbus clients: requests cut by hand, outcomes of drivers, and a judge who accuses nobody
wrongly."""

from __future__ import annotations

import shlex
import socket
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from fieldrig.suites.common.judge import judge
from fieldrig.suites.common.outcome import Absent, Requirement
from fieldrig.suites.modbus_client import memory
from fieldrig.suites.modbus_client.client import Client, Timing, right, silent
from fieldrig.suites.modbus_client.driver import DriverFailure, Hung, ObjectDriver, ProgramDriver, parse
from fieldrig.suites.modbus_client.frames import FRAMINGS, Request, crc
from fieldrig.suites.modbus_client.naive import NaiveDriver
from fieldrig.suites.modbus_client.own import OwnDriver
from fieldrig.suites.modbus_client.run import judge_all, python_object, station
from fieldrig.suites.modbus_client.station import Reply

MUST = Requirement("X-01", "must", "tested", "AP 1", "a statement", carriers=("tcp",))
READ = bytes.fromhex("03 0000 0002")
TIMING = Timing(timeout=0.1, settle=0.01, hang=0.5)


def test_requests_are_cut_wherever_the_stream_was_cut() -> None:
    for name, frames in {
        "tcp": [bytes.fromhex("0001 0000 0006 01") + READ, bytes.fromhex("0002 0000 0006 01") + READ],
        "rtu": [b"\1" + READ + crc(b"\1" + READ).to_bytes(2, "little")] * 2,
        "ascii": [b":010300000002FA\r\n"] * 2,
    }.items():
        stream = b"".join(frames)
        for place in range(len(stream)):
            first, rest = FRAMINGS[name].cut(stream[:place], False)
            second, left = FRAMINGS[name].cut(rest + stream[place:], False)
            assert [request.raw for request in [*first, *second]] == frames
            assert all(request.pdu == READ and request.unit == 1 for request in [*first, *second])
            assert left == b""


def test_a_length_field_that_lies_makes_one_request_of_what_came() -> None:
    raw = bytes.fromhex("0001 0000 0009 01") + READ
    assert FRAMINGS["tcp"].cut(raw, False) == ([], raw)
    (request,), rest = FRAMINGS["tcp"].cut(raw, True)
    assert (request.length, request.pdu, rest) == (9, READ, b"")


@pytest.mark.parametrize("name", ["tcp", "rtu", "ascii"])
def test_a_wrong_frame_differs_from_the_right_one(name: str) -> None:
    framing = FRAMINGS[name]
    request = Request(b"", 1, READ, transaction=7)
    good = framing.answer(request, b"\3\2\0\1")
    assert framing.answer(request, b"\3\2\0\1", unit=2) != good
    if name == "tcp":
        assert good == bytes.fromhex("0007 0000 0005 01 03020001")
    else:
        assert framing.answer(request, b"\3\2\0\1", check=1) != good


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {},
        {"values": 3},
        {"values": ["x"]},
        {"error": "exception"},
        {"error": "bad"},
        {"pdu": "zz"},
        {"ok": True, "values": []},
    ],
)
def test_nonsense_of_a_driver_is_no_outcome(said: object) -> None:
    with pytest.raises(DriverFailure, match="the driver said"):
        parse(said, 0.0, 1.0)


def test_a_driver_that_raises_is_to_blame_itself() -> None:
    def broken(request: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("no such method")

    driver = ObjectDriver(broken)
    with pytest.raises(DriverFailure, match="RuntimeError: no such method"):
        driver.ask({"call": "open"}, 1.0)
    driver.close()


def test_a_call_that_does_not_end_is_hung() -> None:
    driver = ObjectDriver(lambda request: time.sleep(0.3) or {"ok": True})
    with pytest.raises(Hung, match="open did not end within"):
        driver.ask({"call": "open"}, 0.01)
    driver.close()


def program(code: str) -> ProgramDriver:
    return ProgramDriver(shlex.join([sys.executable, "-u", "-c", code]), "tcp://127.0.0.1:1")


def test_what_a_driver_says_unasked_is_not_taken_for_an_outcome() -> None:
    driver = program('import sys\nprint(\'{"ok": true}\\n{"values": [1]}\'); sys.stdin.read()')
    assert driver.ask({"call": "open"}, 10.0).done
    deadline = time.monotonic() + 10.0
    while driver.unasked == 0 and time.monotonic() < deadline:
        time.sleep(0.001)
    with pytest.raises(DriverFailure, match="without being asked"):
        driver.ask({"call": "read_holding"}, 10.0)
    driver.close()


@pytest.mark.parametrize("noise", ["bytes(range(128, 256)) * 9 + b'\\n'", "b'x' * (3 << 20)"])
def test_what_is_no_text_or_never_ends_is_no_outcome(noise: str) -> None:
    driver = program(f"import sys\ninput()\nsys.stdout.buffer.write({noise}); sys.stdout.flush(); sys.stdin.read()")
    with pytest.raises(DriverFailure, match="which is no JSON"):
        driver.ask({"call": "open"}, 10.0)
    driver.close()


def test_a_call_that_hangs_before_anything_is_sent_accuses_nobody() -> None:
    naive, hung = NaiveDriver(), threading.Event()

    def driver(request: dict[str, Any]) -> Any:
        if request["call"] == "write_coil":
            hung.wait(20.0)
        return naive(request)

    with station("tcp") as server:
        client = Client(server, python_object(lambda: driver), Timing(timeout=0.05, settle=0.01, hang=0.2))
        row = judge(MUST, lambda each: each.call("write_coil", address=0, value=True), client)
        hung.set()
        client.close()
    assert row.verdict == "inconclusive"
    assert "nothing was sent" in row.says


def test_a_driver_that_never_works_again_is_not_waited_for_in_every_row() -> None:
    asked = 0

    def driver(request: dict[str, Any]) -> Any:
        nonlocal asked
        asked += 1
        raise RuntimeError("broken for good")

    with station("tcp") as server:
        client = Client(server, python_object(lambda: driver), TIMING)
        verdicts = [judge(MUST, lambda each: None, client).verdict for _ in range(5)]
        client.close()
    assert verdicts == ["not tested"] * 5
    assert asked == 3


def test_a_slow_driver_does_not_make_the_client_slow() -> None:
    naive = NaiveDriver()

    def driver(request: dict[str, Any]) -> Any:
        said = {name: value for name, value in naive(request).items() if name != "took"}
        time.sleep(0.05 if request["call"] == "read_holding" else 0.0)  # a driver that takes its time
        return said

    rows = judge_all(lambda: driver, "tcp", timing=Timing(timeout=0.1, settle=0.01, hang=2.0), only=("CLI-17",))
    assert rows["CLI-17"].verdict in ("pass", "inconclusive"), rows["CLI-17"].says


def test_a_driver_that_fails_in_a_row_makes_it_inconclusive() -> None:
    naive = NaiveDriver()

    def driver(request: dict[str, Any]) -> Any:
        if request["call"] == "write_coil":
            raise RuntimeError("broken")
        return naive(request)

    with station("tcp") as server:
        client = Client(server, python_object(lambda: driver), TIMING)
        row = judge(MUST, lambda each: each.call("write_coil", address=0, value=True), client)
        client.close()
    assert row.verdict == "inconclusive"
    assert "RuntimeError: broken" in row.says


def test_a_client_that_cannot_read_any_more_is_not_tested() -> None:
    with station("tcp") as server:
        client = Client(server, python_object(lambda: lambda request: {"ok": True}), TIMING)
        row = judge(MUST, lambda each: None, client)
        client.close()
    assert row.verdict == "not tested"


def test_what_came_late_because_we_stood_still_is_inconclusive() -> None:
    def test(client: Client) -> None:
        client.open()
        client.station.lag = 1.0
        client.must_read("an answer", script=silent)

    with station("tcp") as server:
        client = Client(server, python_object(NaiveDriver), Timing(timeout=0.05, settle=0.01, hang=0.5))
        row = judge(MUST, test, client)
        client.close()
    assert row.verdict == "inconclusive"
    assert "this machine was busy" in row.says


def test_silence_of_the_client_counts_only_if_it_still_reads_afterwards() -> None:
    naive = NaiveDriver()
    dead = False

    def driver(request: dict[str, Any]) -> Any:
        return {"error": "timeout"} if dead and request["call"] == "read_holding" else naive(request)

    def test(client: Client) -> None:
        nonlocal dead
        dead = True
        raise Absent("nothing came")

    with station("tcp") as server:
        client = Client(server, python_object(lambda: driver), TIMING)
        row = judge(MUST, test, client)
        client.close()
    assert row.verdict == "inconclusive"
    assert "afterwards a plain read did not give the right values" in row.says


def test_a_broken_script_of_ours_ends_the_run() -> None:
    def script(request: Request, reply: Reply) -> None:
        raise ZeroDivisionError

    with station("tcp") as server:
        client = Client(server, python_object(NaiveDriver), TIMING)
        with pytest.raises(ZeroDivisionError):
            client.read(script)
        client.close()


@pytest.mark.parametrize("carrier", ["tcp", "rtu", "ascii"])
def test_a_row_begins_without_what_the_row_before_left(carrier: str) -> None:
    with station(carrier) as server:
        client = Client(server, python_object(NaiveDriver), TIMING)
        for _ in range(3):
            client.open()
            client.read(silent)
            Reply(server, client.requests[-1]).send(memory.registers_pdu(3, (0xDEAD, 0xBEEF)))
            client.open()
            assert client.read(right).values == memory.registers(3, 0, 2)
            assert len(server.requests) == 1
        client.end()
        client.close()


def test_a_request_that_the_client_gave_up_at_once_was_sent_nevertheless() -> None:
    request = bytes.fromhex("0001 0000 0006 01") + READ
    with station("tcp") as server:
        address = urlsplit(server.url)
        for _ in range(50):
            with socket.create_connection((str(address.hostname), int(address.port or 0))) as link:
                link.sendall(request)
                server.look()
                assert [seen.raw for seen in server.requests] == [request]
            server.renew([])


class Padded(OwnDriver):
    """Our client, with the zeros that fill the last byte behind its bits."""

    def __call__(self, request: dict[str, Any]) -> Mapping[str, Any]:
        outcome = dict(super().__call__(request))
        if request["call"] in ("read_coils", "read_discrete_inputs") and "values" in outcome:
            outcome["values"] = [*outcome["values"], *[0] * (-len(outcome["values"]) % 8)]
        return outcome


def test_bits_that_fill_the_last_byte_are_told_as_such() -> None:
    row = judge_all(Padded, "tcp", only=["INT-11"])["INT-11"]
    assert row.verdict == "advice" and "the driver is to cut them off" in row.says, row.says
