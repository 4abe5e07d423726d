"""An adapter hands over late what came in time: nobody is accused of it, and no silence and no deadline passes by it.

The adapter is a pty that the calibration file says holds bytes for `HELD`; a thread is the device behind it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fieldrig import modbus, protocol
from fieldrig._core.timing import store_calibration
from fieldrig.errors import ExpectationFailed, InconclusiveError, NoAnswer, Unanswered
from fieldrig.serial import Console
from fieldrig.stimulus import Program

HELD = 2_000_000_000
"""So long that a busy machine does not matter."""


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """Its URL, and the end at which it hands over."""
    file = tmp_path / "calibration.toml"
    monkeypatch.setenv("FIELDRIG_CALIBRATION", str(file))
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    name = os.ttyname(theirs)
    store_calibration(file, name, resolution_ns=HELD, delay_ns=1, line="9600 8N1", rounds=200)
    try:
        yield f"serial://{name}?line=9600+8N1", ours
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.fixture
def adapter(held: tuple[str, int]) -> Iterator[tuple[Console, int]]:
    """A console on it, and the end at which it hands over."""
    url, end = held
    with Console(url) as console:
        yield console, end


@contextlib.contextmanager
def handing_over(adapter: int, what: bytes, after: float) -> Iterator[None]:
    """So many seconds from now on the adapter hands it over."""
    timer = threading.Timer(after, os.write, (adapter, what))
    timer.start()
    try:
        yield
    finally:
        timer.join()


WAYS: list[Callable[[Console], object]] = [
    lambda console: console.expect("ok\n", within="100ms"),
    lambda console: console.expect_all(["ok\n"], within="100ms"),
    lambda console: console.read_line(within="100ms"),
    lambda console: console.expect_none("ok\n", for_="100ms"),
    lambda console: console.play(Program().wait("ok\n", within="100ms")),
    lambda console: console.play(Program().send(b"?").wait("ok\n", within="100ms")),
    lambda console: console.play(Program().send(b"?").wait(3, within="100ms")),
    lambda console: console.play(Program().send(b"?").wait_none("ok\n", for_="100ms")),
]
NAMES = ["expect", "all", "line", "none", "wait", "answer", "count", "wait_none"]


@pytest.mark.parametrize("way", WAYS, ids=NAMES)
def test_what_the_adapter_may_have_had_at_the_deadline_decides_nothing(
    adapter: tuple[Console, int], way: Callable[[Console], object]
) -> None:
    console, end = adapter
    with handing_over(end, b"ok\n", 0.3), pytest.raises(InconclusiveError, match="may have come|at an edge|unsure"):
        way(console)


def test_an_answer_within_what_the_adapter_holds_is_no_answer_to_a_send_for_certain(
    adapter: tuple[Console, int],
) -> None:
    console, end = adapter
    with handing_over(end, b"ok\n", 0.1), pytest.raises(InconclusiveError, match="before the send behind which"):
        console.play(Program().send(b"?").wait("ok\n", within="20s"))


def test_what_has_not_come_when_the_adapter_must_have_handed_it_over_did_not_come(
    adapter: tuple[Console, int],
) -> None:
    console, end = adapter
    with handing_over(end, b"no\n", 0.1), pytest.raises(ExpectationFailed, match="did not come in time"):
        console.play(Program().send(b"?").wait("ok\n", within="10ms"))


ALARMS = protocol.Protocol(
    {
        "name": "alarms",
        "frame": {"by": "delimiter", "end": "0a", "header": {"kind": "dec[1] tag"}},
        "message": {
            "status": {"tag": 1, "answer": "report"},
            "report": {"tag": 2, "fields": {"volts": "dec[2]"}},
            "alarm": {"tag": 5, "fields": {"code": "dec[2]"}, "unasked": True, "from": "device"},
        },
        "client": {"timeout": "100ms"},
    }
)


def test_a_frame_that_the_adapter_may_have_had_at_the_deadline_decides_nothing(held: tuple[str, int]) -> None:
    url, end = held
    with protocol.Client(url, ALARMS) as client:
        with handing_over(end, b"507\n", 0.3), pytest.raises(InconclusiveError, match="may have come"):
            client.expect("alarm", within="100ms")
        with handing_over(end, b"508\n", 0.3), pytest.raises(InconclusiveError, match="may be"):
            client.expect_none("alarm", code=8, for_="100ms")


def test_an_answer_that_the_adapter_may_have_had_in_time_accuses_nobody(held: tuple[str, int]) -> None:
    url, end = held
    with protocol.Client(url, ALARMS) as client:
        with handing_over(end, b"507\n", 0.0):
            client.expect("alarm", within="20s")
        with handing_over(end, b"212\n", 0.3), pytest.raises(Unanswered, match="hands over late"):
            client.ask("status")
        with pytest.raises(NoAnswer):
            client.ask("status")


def test_an_answer_of_modbus_that_the_adapter_may_have_had_in_time_accuses_nobody(held: tuple[str, int]) -> None:
    url, end = held
    answer = modbus.adu_rtu(1, bytes.fromhex("03020007"))
    with modbus.Client(url.replace("serial:", "rtu:"), unit=1, timeout="100ms") as client:
        with handing_over(end, answer, 0.3), pytest.raises(Unanswered, match="hands over late"):
            client.read_holding(0)


def shell(end: int) -> None:
    """A shell with a prompt, until the port is closed; `quit` ends it."""
    typed = b""
    while not typed.endswith(b"quit\n"):
        typed += os.read(end, 1000)
        while b"\n" in typed and not typed.startswith(b"quit"):
            line, typed = typed.split(b"\n", 1)
            ran = subprocess.run(["sh", "-c", line], stdout=subprocess.PIPE, check=False)
            os.write(end, ran.stdout + b"box# ")


def test_commands_and_logins_are_told_by_what_they_say_and_not_by_when(adapter: tuple[Console, int]) -> None:
    console, end = adapter
    device = threading.Thread(target=shell, args=(end,), daemon=True)
    device.start()
    try:
        console.prompt = "box# "
        assert console.login("root", within="10s").text == "box# "
        assert console.run("echo one; false", within="10s").output == "one\n"
        assert console.run("(exit 3)", within="10s").status == 3
        asked = console.send("echo two")
        with pytest.raises(InconclusiveError, match="may have come before or after the cursor") as caught:
            console.expect("two\n", after=asked, within="100ms")
        assert "calibrate PORT" in str(caught.value)
    finally:
        console.send("quit")
        device.join()
