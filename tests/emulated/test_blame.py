"""Who is to blame: what looks like a fault of the device and is one of the bench, and the reverse."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from fieldrig import Rig, Stamp, modbus, mqtt
from fieldrig.errors import (
    ConnectionLost,
    ExceptionAnswer,
    ExpectationFailed,
    InconclusiveError,
    NoAnswer,
    PortLost,
    Unanswered,
    UnexpectedEvent,
    UsageError,
)
from fieldrig.expect import Timeline
from fieldrig.serial import Console

ANSWER = struct.pack(">BBH", 3, 2, 7)
"""One holding register, its value 7."""


@pytest.fixture
def rig():
    with Rig(name="blame") as rig:
        yield rig


@pytest.fixture
def broker(rig):
    with mqtt.Broker(rig=rig) as broker:
        yield broker


@contextlib.contextmanager
def server(*replies: bytes | Callable[[socket.socket], None]) -> Iterator[str]:
    """A Modbus/TCP server that gives these PDUs in turn, or does something else instead."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        conn, _ = listener.accept()
        with conn:
            for reply in replies:
                request = conn.recv(260)
                if callable(reply):
                    reply(conn)
                else:
                    conn.sendall(request[:4] + struct.pack(">HB", len(reply) + 1, request[6]) + reply)
            with contextlib.suppress(OSError):
                conn.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with listener:
            yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join()


def reset(conn: socket.socket) -> None:
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


def silent(conn: socket.socket) -> None:
    pass


def stop_this_process(conn: socket.socket) -> None:
    """Stands still for 200 ms, until another process lets us go on."""
    # The kernel tells only a parent that a process stopped, so the program looks; its 200 ms are the stall itself.
    program = (
        "import os, pathlib, signal, sys, time\n"
        "pid = int(sys.argv[1])\n"
        "while ') T' not in pathlib.Path(f'/proc/{pid}/stat').read_text(): time.sleep(0.001)\n"
        "time.sleep(0.2)\n"
        "os.kill(pid, signal.SIGCONT)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(os.getpid())]):
        os.kill(os.getpid(), signal.SIGSTOP)


def test_silence_is_the_devices_fault_only_where_it_has_answered_before():
    with server(silent) as url, modbus.Client(url, timeout="100ms") as client, pytest.raises(Unanswered):
        client.read_holding(0)
    with server(ANSWER, silent) as url, modbus.Client(url, timeout="100ms") as client:
        assert client.read_holding(0).values == (7,)
        with pytest.raises(NoAnswer, match="^DUT: "):
            client.read_holding(0)


def test_a_host_that_stood_still_does_not_accuse_the_device_of_silence():
    with server(ANSWER, stop_this_process) as url, modbus.Client(url, timeout="100ms") as client:
        client.read_holding(0)
        with pytest.raises(Unanswered, match=r"(?s)^INCONCLUSIVE: .*the host stood still"):
            client.read_holding(0)


@pytest.mark.parametrize("code", [0x0A, 0x0B])
def test_what_a_gateway_says_does_not_prove_the_path_to_the_device(code):
    with server(bytes([0x83, code]), silent) as url, modbus.Client(url, timeout="100ms") as client:
        with pytest.raises(ExceptionAnswer):
            client.read_holding(0)
        with pytest.raises(Unanswered):
            client.read_holding(0)


@pytest.mark.parametrize(("owner", "error"), [("dut", ConnectionLost), ("bench", PortLost)])
def test_a_reset_is_blamed_on_whom_the_port_belongs_to(owner, error):
    with server(ANSWER, reset) as url, modbus.Client(url, belongs_to=owner) as client:
        client.read_holding(0)
        with pytest.raises(error):
            client.read_holding(0)


def test_garbage_on_a_wire_where_nothing_was_understood_yet_accuses_nobody(rig):
    with Console("pty://?line=9600+8E1", rig=rig) as device:
        path = device.url.removeprefix("serial://")
        with modbus.Client(f"rtu://{path}", rig=rig, timeout="5s") as client:

            def garble() -> None:
                device.stream.receive(8, within="30s")
                device.send(bytes([1, 3, 2, 0, 7, 0, 0]), end=b"")

            thread = threading.Thread(target=garble)
            thread.start()
            with pytest.raises(InconclusiveError, match=r"(?s)^INCONCLUSIVE: .*speed and format"):
                client.read_holding(0)
            thread.join()


def test_closing_one_of_two_watches_with_the_same_filter_leaves_the_other_its_messages(rig, broker):
    with mqtt.Client(broker.url, rig=rig) as tester, mqtt.Client(broker.url, rig=rig) as device:
        with tester.watch("a/state") as kept:
            tester.watch("a/state").close()
            device.publish("a/state", "on", qos=1)
            with pytest.raises(UnexpectedEvent):
                kept.expect_none(for_="5s")


def test_a_watch_shows_only_the_copies_of_its_own_subscription(rig):
    """A broker may send a copy for each subscription that matches; each says for which [MQTT-3.3.4-2]."""
    copies = [b"\x30\x08\x00\x03a/b\x02\x0b" + bytes([number]) for number in (1, 2)]
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[bytes] = []

    def broker() -> None:
        conn, _ = listener.accept()
        with conn:
            conn.recv(1000)
            conn.sendall(b"\x20\x03\x00\x00\x00")
            for _ in range(2):
                seen.append(conn.recv(1000))
                conn.sendall(b"\x90\x04" + seen[-1][2:4] + b"\x00\x00")
            conn.sendall(b"".join(copies))
            conn.recv(1)

    thread = threading.Thread(target=broker)
    thread.start()
    url = f"mqtt://127.0.0.1:{listener.getsockname()[1]}"
    with listener:
        client = mqtt.Client(url, rig=rig, name="overlap")
        wide, narrow = client.watch("a/#"), client.watch("a/b")
        for watch in (wide, narrow):
            watch.expect("a/b", after=Stamp(0), within="24h")
        assert (len(wide.messages()), len(narrow.messages())) == (1, 1)
        client.close()
    thread.join()
    assert [packet[4:7] for packet in seen] == [b"\x02\x0b\x01", b"\x02\x0b\x02"]


def test_a_link_that_is_closed_does_not_take_the_place_of_the_failure(rig, broker):
    timeline = Timeline(rig.now, rig.stalls)
    with mqtt.Client(broker.url, rig=rig, timeline=timeline) as tester, tester.watch("a") as watch:
        other = mqtt.Client(broker.url, rig=rig, timeline=timeline)
        other.watch("b")
        other.close()
        with pytest.raises(ExpectationFailed):
            watch.expect(within="10ms")


@pytest.mark.parametrize("topic", ["a/#/b", "a#", "+a/b", ""])
def test_a_filter_that_matches_nothing_is_the_fault_of_the_test(rig, broker, topic):
    with mqtt.Client(broker.url, rig=rig) as tester, tester.watch("a/#") as watch, pytest.raises(UsageError):
        watch.expect(topic, within="10ms")


def test_a_payload_that_is_no_text_is_the_fault_of_the_test(rig, broker):
    with mqtt.Client(broker.url, rig=rig) as tester, tester.watch("a/#") as watch, pytest.raises(UsageError):
        watch.expect(payload=85, within="10ms")


def test_json_that_is_nested_too_deeply_does_not_match(rig, broker):
    with mqtt.Client(broker.url, rig=rig) as tester, tester.watch("a/#") as watch:
        tester.publish("a/b", b"[" * 200_000, qos=1)
        with pytest.raises(ExpectationFailed):
            watch.expect(json={"code": 1}, within="10ms")


@pytest.fixture
def line(rig):
    """A console on a pty, and the file descriptor of the device on the other end."""
    master, slave = os.openpty()
    with Console(f"serial://{os.ttyname(slave)}?line=115200+8N1", rig=rig) as console:
        yield console, master
    os.close(slave)
    os.close(master)


def test_lines_end_with_cr_lf_as_well_as_with_lf(line):
    console, device = line
    os.write(device, b"boot ok\r\nname: meter 7\r\nready\n")
    assert console.expect(r"(?m)^boot ok$", within="30s").start == 0
    assert console.expect(r"name: (.*)", within="30s")[1] == "meter 7"
    console.expect(r"(?m)^ready$", within="30s")


def test_a_match_with_an_open_end_stands_when_nothing_follows(line):
    console, device = line
    os.write(device, b"fw 1.4.2")
    assert console.expect(r"fw (?P<version>\S+)", within="30s")["version"] == "1.4.2"


def test_the_same_pattern_twice_needs_two_matches(line):
    console, device = line
    os.write(device, b"ok\r\n")
    with pytest.raises(ExpectationFailed):
        console.expect_all(["ok", "ok"], within="100ms")
    os.write(device, b"ok\r\n")
    assert [match.start for match in console.expect_all(["ok", "ok"], after=Stamp(0), within="24h")] == [0, 4]


def test_a_line_that_never_spoke_accuses_nobody_until_it_has(rig):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with Console(url, rig=rig, proven=False) as console, listener.accept()[0] as device:
            with pytest.raises(InconclusiveError, match="nothing ever came through this port: is it connected"):
                console.expect("boot ok", within="10ms")
            device.sendall(b"garbage")
            console.expect("garbage", within="30s")
            with pytest.raises(ExpectationFailed):
                console.expect("boot ok", within="10ms")
