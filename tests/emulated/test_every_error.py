"""Each way to go wrong raises its own error; `EndpointStuck` has its tests in Rust, where endpoints are made."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from fieldrig import BenchPlan, modbus, mqtt
from fieldrig.errors import (
    BenchFileError,
    ConnectionLost,
    ExceptionAnswer,
    ForkError,
    NoAnswer,
    PortError,
    PortLost,
    ProtocolError,
    Reentered,
    Refused,
    Stopped,
    Unanswered,
    UsageError,
)
from fieldrig.stream import Stream

Owner = Literal["bench", "dut"]


@contextlib.contextmanager
def listener() -> Iterator[tuple[socket.socket, str]]:
    """A socket that takes connections and says nothing by itself."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        yield server, f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_a_wrong_bench_file_says_where(tmp_path: Path) -> None:
    path = tmp_path / "bench.toml"
    path.write_text('[bench]\nname = "x"\nprofil = "real"\n')
    with pytest.raises(BenchFileError) as raised:
        BenchPlan.load(path)
    assert (raised.value.line, raised.value.column) == (3, 1)
    assert "did you mean `profile`" in str(raised.value)


def test_nobody_listens() -> None:
    with listener() as (_, url):
        pass
    with pytest.raises(PortError, match="refused"):
        modbus.Client(url)


def test_silence_on_a_path_that_never_worked_is_inconclusive() -> None:
    with listener() as (_, url), modbus.Client(url, timeout="100ms") as client, pytest.raises(Unanswered):
        client.read_holding(0)


def test_silence_on_a_path_that_is_known_to_work_is_the_devices_fault() -> None:
    with modbus.Device(holding={0: [7]}) as device, modbus.Client(device.url, timeout="100ms") as client:
        assert client.read_holding(0).values == (7,)
        device.habit("unknown_function_silent")
        with pytest.raises(NoAnswer):
            client.raw_pdu(b"\x41")


def test_an_exception_code_is_an_error_with_its_code() -> None:
    with modbus.Device(holding={0: [7]}) as device, modbus.Client(device.url) as client:
        with pytest.raises(ExceptionAnswer) as raised:
            client.read_holding(5)
        assert (raised.value.code, raised.value.function) == (2, 3)


def test_an_answer_that_breaks_the_protocol_is_one() -> None:
    with modbus.Device(holding={0: [7]}) as device, modbus.Client(device.url, timeout="200ms") as client:
        device.habit("byte_count_delta", 1)
        with pytest.raises(ProtocolError, match="byte count"):
            client.read_holding(0)


def test_a_connection_that_a_device_breaks_is_lost() -> None:
    with listener() as (server, url), Stream(url, belongs_to="dut") as stream:
        accepted, _ = server.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()  # at once: a reset
        assert stream.receive(within="20s").closed == "reset"
        with pytest.raises(ConnectionLost):
            stream.send(b"anyone there?")


@pytest.mark.parametrize(("owner", "error"), [("dut", ConnectionLost), ("bench", PortLost)])
def test_who_owns_a_port_that_vanishes_decides_who_is_to_blame(owner: Owner, error: type[Exception]) -> None:
    master, slave = os.openpty()
    with Stream(f"serial://{os.ttyname(slave)}?line=9600+8N1", belongs_to=owner) as stream:
        os.close(slave)
        os.close(master)
        assert stream.receive(within="20s").closed == "hung up"
        with pytest.raises(error):
            stream.send(b"anyone there?")


def test_what_is_closed_says_so() -> None:
    with modbus.Device(holding={0: [7]}) as device:
        client = modbus.Client(device.url)
        client.close()
        with pytest.raises(Stopped):
            client.read_holding(0)


def test_a_call_from_within_a_call_on_the_same_object_is_refused() -> None:
    raised: list[Exception] = []
    with listener() as (_, url), modbus.Client(url, timeout="400ms") as client:

        def meddle(*_: object) -> None:
            try:
                client.read_holding(1)
            except Reentered as error:
                raised.append(error)

        before = signal.signal(signal.SIGALRM, meddle)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try:
            with pytest.raises(Unanswered):
                client.read_holding(0)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert len(raised) == 1


def test_what_a_broker_turns_down_is_refused() -> None:
    with mqtt.Broker() as broker, mqtt.Client(broker.url) as client, pytest.raises((Refused, UsageError)):
        client.publish("a/b", "x", qos=2)


def test_an_object_does_not_survive_a_fork() -> None:
    with modbus.Device(holding={0: [7]}) as device, modbus.Client(device.url) as client:
        child = os.fork()
        if child == 0:
            try:
                client.read_holding(0)
            except ForkError:
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
