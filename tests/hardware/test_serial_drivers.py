"""Real drivers: a 16550A and an FTDI adapter. Runs only in the machine of `tests.hardware.guest`, which says how."""

from __future__ import annotations

import fcntl
import json
import os
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fieldrig
from fieldrig import _core
from fieldrig._core.stream import Stream
from fieldrig.errors import PortError

pytestmark = pytest.mark.skipif(
    os.environ.get("FIELDRIG_GUEST") != "1", reason="needs real drivers: python -m tests.hardware.guest"
)

TCGETS2 = 0x802C542A
CMSPAR = 0o10000000000
USB = "usb:0403:6001:FT4XK2"
PORTS = {"uart": "/dev/ttyS1", "usb": USB}


@pytest.fixture(scope="session")
def order() -> Iterator[Callable[[str], None]]:
    """Tells who is at the far ends what to do."""
    line = os.open("/dev/ttyS2", os.O_RDWR | os.O_NOCTTY)
    modes = termios.tcgetattr(line)
    modes[0] = modes[1] = modes[3] = 0
    modes[2] |= termios.CLOCAL
    termios.tcsetattr(line, termios.TCSANOW, modes)
    termios.tcflush(line, termios.TCIOFLUSH)

    def go(text: str) -> None:
        os.write(line, f"{text}\n".encode())
        answer = b""
        while not answer.endswith(b"\n"):
            answer += os.read(line, 100)
        assert answer == b"ok\n", answer

    yield go
    os.close(line)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[fieldrig.Rig]:
    with fieldrig.Rig(folder=str(tmp_path)) as made:
        yield made


def eventually(true: Callable[[], bool]) -> bool:
    """Whether it comes true within a time that only a hanging machine exceeds."""
    until = time.monotonic() + 60
    while not (found := true()) and time.monotonic() < until:
        time.sleep(0.02)
    return found


def url(port: str, keys: str = "line=115200+8N1") -> str:
    return f"serial://{PORTS[port]}?{keys}"


def refusal(port: str, keys: str) -> str:
    """What the port says to keys that it refuses."""
    with pytest.raises(PortError) as refused:
        Stream(url(port, keys))
    return str(refused.value)


def node(port: str) -> str:
    """The device node of a port."""
    found = [known.path for known in _core.ports() if known.name == PORTS[port]]
    return found[0] if found else PORTS[port]


def modem_lines(port: str) -> int:
    """How the lines of an open port stand."""
    return int.from_bytes(fcntl.ioctl(descriptor(port), termios.TIOCMGET, bytes(4)), sys.byteorder)


def descriptor(port: str) -> int:
    """The descriptor on which this process has a port open: opening it once more would raise its modem lines."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if str(entry.readlink()) == node(port):
                return int(entry.name)
        except FileNotFoundError:
            continue
    raise AssertionError(f"{port} is not open")


def read(stream: Stream, length: int) -> bytes:
    data = b""
    while len(data) < length:
        data += stream.receive(length - len(data), within="60s").data
    return data


def line_events(rig: fieldrig.Rig, stream: Stream) -> list[tuple[int, str]]:
    """The events of the line so far: behind which byte, and what."""
    stream.look()
    records = [json.loads(line) for line in Path(rig.files()["log"]).read_text(encoding="utf-8").splitlines()]
    fields = [one["fields"] for one in records if one["kind"] == "stream.line"]
    return [(one["offset"], one["event"]) for one in fields]


def counts(rig: fieldrig.Rig, port: str) -> _core.LineCounts:
    (found,) = [one for one in rig.line_counts() if one.port == PORTS[port]]
    assert found.unknown is None
    return found


def test_both_ports_are_there_and_say_what_they_are() -> None:
    ports = {port.path: port for port in _core.ports()}
    assert ports["/dev/ttyUSB0"].name == USB
    assert ports["/dev/ttyUSB0"].latency_timer is not None
    assert ports["/dev/ttyS1"].rx_trigger == 8
    with Stream(f"serial://usb:{ports['/dev/ttyUSB0'].location}?line=9600+8N1") as stream:
        assert stream.closed is None


@pytest.mark.parametrize("port", PORTS)
def test_every_byte_comes_back_as_it_was_sent(rig: fieldrig.Rig, order: Callable[[str], None], port: str) -> None:
    order(f"echo {port}")
    data = bytes(range(256)) + b"\xff\xff\xff\x00\xff\x00\x00"
    with Stream(url(port), rig=rig) as stream:
        for _ in range(4):
            stream.send(data)
            assert read(stream, len(data)) == data
        assert line_events(rig, stream) == []
    assert counts(rig, port).breaks == counts(rig, port).framing == 0


def test_a_break_is_an_event_between_bytes_and_is_counted(rig: fieldrig.Rig, order: Callable[[str], None]) -> None:
    """Of the UART: the adapter of QEMU tells of a break without a byte, which its driver does not count."""
    port = "uart"
    with Stream(url(port), rig=rig) as stream:
        order(f"send {port} 61ff62")
        assert read(stream, 3) == b"a\xffb"
        order(f"break {port}")
        assert eventually(lambda: bool(line_events(rig, stream)))
        order(f"send {port} 6300")
        assert read(stream, 2) == b"c\0"
        assert line_events(rig, stream) == [(3, "Break")]
        assert counts(rig, port).breaks == 1
    assert counts(rig, port).breaks == 1, "also when it is closed"


@pytest.mark.parametrize("line", ["300 8M1", "9600 8S1", "19200 7E2", "9600 8O1", "12345 8N1"])
@pytest.mark.parametrize("port", PORTS)
def test_what_the_driver_makes_of_the_settings_is_what_was_asked(port: str, line: str) -> None:
    if (port, line) == ("uart", "12345 8N1"):
        assert "the UART makes 12800 baud of 12345" in refusal(port, f"line={line.replace(' ', '+')}")
        return
    with Stream(url(port, f"line={line.replace(' ', '+')}")):
        _, _, flags, _, *_, speed = struct.unpack("4I20x2I", fcntl.ioctl(descriptor(port), TCGETS2, bytes(44)))
    assert speed == int(line.split()[0])
    assert (flags & CMSPAR != 0) == (line[-2] in "MS")


def test_what_no_driver_can_do_is_told_with_its_answer() -> None:
    assert "the driver made" in refusal("uart", "line=4000000+8N1")
    assert "the driver made 9600 8N1 of 12000000 8N1" in refusal("usb", "line=12000000+8N1")
    for port in PORTS:
        assert "`rs485`: its driver does not do it: Inappropriate ioctl" in refusal(port, "rs485=on")


@pytest.mark.parametrize("port", PORTS)
def test_modem_lines_stand_as_asked_when_the_port_is_open(port: str) -> None:
    lines = termios.TIOCM_DTR | termios.TIOCM_RTS
    for keys, wanted in [
        ("dtr=off&rts=on", termios.TIOCM_RTS),
        ("dtr=on&rts=off", termios.TIOCM_DTR),
        ("dtr=off&rts=off", 0),
        ("dtr=keep", lines),
    ]:
        with Stream(url(port, keys)):
            assert modem_lines(port) & lines == wanted, keys


def test_edges_of_modem_lines_are_events(rig: fieldrig.Rig) -> None:
    """In the loop of the UART itself: RTS comes back as CTS, DTR as DSR."""
    with Stream(url("uart", "dtr=off&rts=off"), rig=rig) as stream:
        end = descriptor("uart")
        for lines in (termios.TIOCM_RTS, termios.TIOCM_RTS | termios.TIOCM_DTR, 0):
            seen = len(line_events(rig, stream))
            fcntl.ioctl(end, termios.TIOCMSET, (0x8000 | lines).to_bytes(4, sys.byteorder))
            assert eventually(lambda seen=seen: len(line_events(rig, stream)) > seen)
        told = [event for _, event in line_events(rig, stream)][:4]
        fcntl.ioctl(end, termios.TIOCMSET, bytes(4))
    states = [re.sub(r".*cts: (\w+), dsr: (\w+).*", r"\1 \2", event) for event in told]
    assert states == ["true false", "true true", "false false"], told


def test_low_latency_is_set_back_when_the_port_is_closed() -> None:
    timer = Path("/sys/bus/usb-serial/devices", Path(node("usb")).name, "latency_timer")
    before = timer.read_text()
    with Stream(url("usb", "low_latency=on")):
        assert timer.read_text().strip() == "1"
    assert timer.read_text() == before


@pytest.mark.parametrize("port", PORTS)
def test_a_port_in_use_names_the_process(port: str) -> None:
    command = ["sh", "-c", f"exec 3<>{node(port)}; echo there; exec sleep 600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"there\n"
        told = refusal(port, "baud=9600")
        holder.kill()
    assert "the port is in use by s" in told and f"(pid {holder.pid})" in told  # sh, or sleep by now
    with Stream(url(port)) as ours:
        assert "in use by" in refusal(port, "baud=9600") and ours.closed is None


def test_who_may_not_open_a_port_is_told_the_group_and_the_command() -> None:
    os.chown("/dev/ttyS1", 0, 20)
    os.chmod("/dev/ttyS1", 0o660)
    code = "from fieldrig._core.stream import Stream; Stream('serial:///dev/ttyS1')"
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", code]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    assert "permission denied" in told
    assert "belongs to group dialout: `sudo usermod -aG dialout nobody`, then log in again" in told, told


def test_an_adapter_that_was_plugged_in_again_is_found_under_its_other_number(
    rig: fieldrig.Rig, order: Callable[[str], None]
) -> None:
    order("echo usb")
    before = node("usb")
    stream = Stream(url("usb"), rig=rig)
    held = os.dup(descriptor("usb"))  # so that its number is not free
    try:
        order("unplug")
        assert stream.receive(1, within="60s").closed == "hung up"
        assert eventually(lambda: not any(port.name == USB for port in _core.ports()))
        assert "no such adapter is plugged in" in refusal("usb", "baud=9600")
        stream.close()
        order("plug")
        assert eventually(lambda: any(port.name == USB for port in _core.ports()))
        assert node("usb") != before
        with Stream(url("usb"), rig=rig) as again:
            again.send(b"back")
            assert read(again, 4) == b"back"
    finally:
        os.close(held)


BENCH = """
[bench]
name = "guest"
profile = "real"
[link.console]
protocol = "console"
line = "115200 8N1"
real = { port = "usb:0403:6001:FT4XK2", belongs_to = "bench" }
[link.service]
protocol = "console"
line = "115200 8N1"
real = { port = "/dev/ttyS1", belongs_to = "bench" }
[dut.meter]
links = { console = "devices" }
[dut.other]
links = { service = "devices" }
"""
TESTS = """
from tests.hardware.test_serial_drivers import eventually, order


def test_answers(meter):
    meter.console.send("hello")
    meter.console.expect("hello", within="60s")


def test_is_pulled_out(meter, order):
    order("unplug")
    order("plug")
    meter.console.expect("anything", within="60s")


def test_answers_again(meter):
    meter.console.send("hello")
    meter.console.expect("hello", within="60s")


def test_has_a_bad_line(bench, other, order):
    order("break uart")
    assert eventually(lambda: any(one.breaks for one in bench.rig.line_counts()))
    assert not "the device is wrong"


def test_is_wrong(other):
    assert not "the device is wrong"
"""


def test_a_bench_recovers_a_lost_adapter_and_accuses_nobody_over_a_bad_line(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(BENCH)
    (tmp_path / "test_meter.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    command += ["--bench", str(tmp_path / "bench.toml"), "--junit-xml", str(tmp_path / "junit.xml"), "-v"]
    paths = os.pathsep.join([os.environ["PYTHONPATH"], os.getcwd()])
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths}
    )
    text = ran.stdout + ran.stderr
    for name, outcome in [("answers", "PASSED"), ("is_pulled_out", "FAILED"), ("answers_again", "PASSED")]:
        assert f"::test_{name} {outcome}" in text, text
    assert "1 fail, 1 bench error, 1 inconclusive, 2 pass" in text, text
    assert (
        "INCONCLUSIVE: the line had errors during the test, so it proves nothing against the device: "
        "/dev/ttyS1: 1 break" in text
    )
    assert 'name="line_errors" value="/dev/ttyS1: 1 break"' in (tmp_path / "junit.xml").read_text()
