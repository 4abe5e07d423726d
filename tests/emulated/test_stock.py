"""The stock client and server (tokio-modbus): they work with ours on every link, and what goes wrong is told fairly."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from fieldrig import Rig, _core, modbus
from fieldrig.errors import (
    ConnectionLost,
    ExceptionAnswer,
    InconclusiveError,
    NoAnswer,
    PortError,
    PortLost,
    ProtocolError,
    Unanswered,
    UsageError,
)
from tests.leftovers import nothing_left

REAL = ["tcp://127.0.0.1:0", "rtu+tcp://127.0.0.1:0", "pty://?line=115200+8E1", "rtu+rfc2217://127.0.0.1:0"]
MEMORY = ["memory://meter", "rtu+memory://meter", "wire://bus"]
ROUTES = [
    *(pytest.param("real", url, id=url) for url in REAL),
    *(pytest.param(clock, url, id=f"{clock}-{url}") for clock in ("real", "virtual") for url in MEMORY),
]
IN_PIECES = ("wire", "pty", "rtu")
"""In RTU tokio-modbus understands answers to function 43 only if they arrive in one piece."""
TABLES = {"holding": {0: [1, 2, 3]}, "input": {5: [9]}, "coils": {0: [1, 0, 1]}, "discrete": {7: [1]}}


@pytest.mark.parametrize(("clock", "url"), ROUTES)
def test_the_stock_client_works_with_our_device_on_every_route(clock: Literal["real", "virtual"], url: str) -> None:
    identity = {0: "Vendor", 1: "Code", 2: "1.0"}
    with Rig(trace="counts", clock=clock) as rig:
        rig.add_wire("bus", line="115200 8N1")
        with (
            modbus.Device(
                url, unit=3, rig=rig, identification=identity, server_id=b"\x07", functions=list(range(1, 44)),
                **TABLES,  # type: ignore[arg-type]
            ) as device,
            modbus.StockClient(device.url, unit=3, timeout="5s", rig=rig) as client,
        ):  # fmt: skip
            session(client, device.get)
            assert client.report_server_id().fields["data"] == b"\x07\xff"
            if not url.startswith(IN_PIECES):
                assert client.read_device_id().fields["objects"] == {0: b"Vendor", 1: b"Code", 2: b"1.0"}


@pytest.mark.parametrize("url", REAL)
def test_our_client_works_with_the_stock_server_on_every_route(url: str) -> None:
    with Rig(trace="counts") as rig:
        with (
            modbus.StockServer(url, unit=3, rig=rig, server_id=b"\x07pump", **TABLES) as server,  # type: ignore[arg-type]
            modbus.Client(server.url, unit=3, timeout="5s", rig=rig) as client,
        ):
            session(client, server.get)
            if url.startswith("tcp"):
                with pytest.raises(ExceptionAnswer):
                    client.report_server_id()
            else:
                assert client.report_server_id().fields["data"] == b"\x07\xffpump"


def session(client: modbus.Client | modbus.StockClient, get: Callable[[str, int, int], tuple[int, ...]]) -> None:
    """Every function that both know, with values and with an exception."""
    assert client.read_holding(0, 3).values == (1, 2, 3)
    assert client.read_input(5).values == (9,)
    assert client.read_coils(0, 3).values == (True, False, True)
    assert client.read_discrete_inputs(7).values == (True,)
    client.write_coil(1, True)
    client.write_register(0, 10)
    client.write_coils(0, [False, True])
    client.write_registers(1, [20, 30])
    client.mask_write(0, and_mask=0x00F0, or_mask=0x0005)
    assert client.read_write_registers(0, 2, 2, [31]).values == (0x0005, 20)
    assert get("holding", 0, 3) == (0x0005, 20, 31)
    assert get("coils", 0, 3) == (0, 1, 1)
    with pytest.raises(ExceptionAnswer) as refused:
        client.read_holding(2, 2)
    assert (refused.value.code, refused.value.function) == (2, 3)
    answer = client.raw_pdu(b"\x03\x00\x02\x00\x01")
    assert answer.pdu == b"\x03\x02\x00\x1f"
    assert 0 <= answer.latency.latest < 5


def test_the_bytes_of_both_are_traced_and_taken_apart(tmp_path: Path) -> None:
    with Rig(folder=tmp_path) as rig:
        with modbus.StockServer(holding={0: [1, 2]}, rig=rig) as server:
            with modbus.StockClient(server.url, rig=rig, name="field") as client:
                answer = client.read_holding(0, 2)
                with pytest.raises(ExceptionAnswer):
                    client.read_input(0)
    assert answer.request == bytes.fromhex("0000 0000 0006 01 03 0000 0002")
    assert answer.response == bytes.fromhex("0000 0000 0007 01 03 04 0001 0002")
    [trace] = tmp_path.rglob("trace.pcapng")
    exported = tmp_path / "exported.jsonl"
    _core.export_trace(trace, exported)
    frames = [json.loads(line) for line in exported.read_text(encoding="utf-8").splitlines()]
    texts = [json.dumps(frame) for frame in frames]
    # Two requests and two answers, as each of both ends sees them, and nothing of the doorbell.
    assert len(frames) == 8
    assert sum("Read Holding Registers" in text for text in texts) == 4
    assert sum("Illegal Data Address" in text or "illegal data address" in text for text in texts) == 2


def test_the_time_out_of_the_stock_client_is_exact_on_virtual_time() -> None:
    with Rig(trace="counts", clock="virtual") as rig:
        rig.add_wire("bus", line="19200 8E1")
        with (
            modbus.Device("wire://bus", holding={0: [7]}, rig=rig) as device,
            modbus.StockClient("wire://bus", timeout="250ms", rig=rig) as client,
        ):
            before = rig.now()
            with pytest.raises(Unanswered, match="within 250 ms"):
                client.read_holding(0, unit=9)
            assert rig.now().earliest_ns - before.earliest_ns == 250_000_000
            # The line is left alone for one more time-out: what comes in that time is dropped.
            assert client.read_holding(0).values == (7,)
            assert rig.now().earliest_ns - before.earliest_ns > 500_000_000
            device.habit("no_answer", True)
            with pytest.raises(NoAnswer):
                client.read_holding(0)


@contextlib.contextmanager
def playing(*answers: bytes) -> Iterator[str]:
    """A server that gives these answers, one for each request on each of its connections; an empty one closes it."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def play() -> None:
            left = list(answers)
            while left and not ended.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    with connection:
                        while left and connection.recv(300):
                            connection.sendall(left[0])
                            if not left.pop(0):
                                break

        player = threading.Thread(target=play)
        player.start()
        try:
            yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            player.join()


RIGHT = bytes.fromhex("0000 0000 0005 01 03 02 0007")


def test_an_answer_with_another_transaction_id_is_the_devices_fault_and_no_hang() -> None:
    with playing(bytes.fromhex("0009 0000 0005 01 03 02 0007"), RIGHT) as url, modbus.StockClient(url) as client:
        with pytest.raises(ProtocolError, match="tokio-modbus says of it `mismatching headers") as found:
            client.read_holding(0)
        assert found.value.facts["received"][:2] == b"\x00\x09"
        assert client.read_holding(0).values == (7,), "on a new connection"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (bytes.fromhex("0000 0000 0005 01 04 02 0007"), "mismatching function codes"),
        (bytes.fromhex("0000 0000 0003 01 03 00"), "0 registers came, 1 were asked for"),
        (bytes.fromhex("0000 0000 0004 01 03 02 00"), "failed to fill whole buffer"),
        (bytes.fromhex("0000 0001 0005 01 03 02 0007"), "Invalid protocol identifier"),
        (bytes.fromhex("0000 0000 0000 01"), "Invalid data length"),
    ],
    ids=["function", "amount", "cut", "protocol", "length"],
)
def test_what_neither_of_both_can_use_is_held_against_the_device(answer: bytes, says: str) -> None:
    with playing(answer) as url, modbus.StockClient(url) as client:
        with pytest.raises(ProtocolError) as found:
            client.read_holding(0)
        assert says in str(found.value)


def test_a_truncated_answer_is_a_time_out_and_the_end_of_the_connection_is_told() -> None:
    with playing(RIGHT, RIGHT[:-1], b"") as url, modbus.StockClient(url, belongs_to="dut") as client:
        assert client.read_holding(0).values == (7,)
        with pytest.raises(NoAnswer) as silent:
            client.read_holding(1, timeout="100ms")
        assert silent.value.facts["received"] == RIGHT[:-1]
        with pytest.raises(ConnectionLost):
            client.read_holding(0)
    with playing(b"") as url, modbus.StockClient(url) as client:
        with pytest.raises(PortLost):
            client.read_holding(0)


def test_what_only_tokio_modbus_cannot_use_is_held_against_nobody() -> None:
    # AP 6.13: the id, the run indicator and what follows are specific to the device.
    answer = bytes.fromhex("0000 0000 0005 01 11 02 07 01")
    with playing(answer) as url, modbus.StockClient(url) as client:
        with pytest.raises(InconclusiveError, match="it is tokio-modbus that cannot use it"):
            client.report_server_id()
    with Rig(trace="counts", clock="virtual") as rig:
        rig.add_wire("bus", line="19200 8E1")
        with modbus.Device("wire://bus", identification={0: "a", 1: "b", 2: "c"}, rig=rig):
            with modbus.StockClient("wire://bus", rig=rig) as client:
                with pytest.raises(InconclusiveError, match="it is tokio-modbus that cannot use it"):
                    client.read_device_id()  # it comes byte by byte
    # An exception to a function that tokio-modbus has no name for is one all the same.
    with playing(bytes.fromhex("0000 0000 0003 01 87 01")) as url, modbus.StockClient(url) as client:
        with pytest.raises(ExceptionAnswer) as refused:
            client.raw_pdu(b"\x07")
        assert refused.value.code == 1


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("ascii+tcp://127.0.0.1:1", "tokio-modbus, the stock Modbus, speaks no ASCII"),
        ("ascii+wire://bus", "tokio-modbus, the stock Modbus, speaks no ASCII"),
        ("udp://127.0.0.1:1", "tokio-modbus, the stock Modbus, speaks no Modbus over UDP"),
        ("tcp://h", "the port number is missing"),
    ],
)
def test_what_the_stock_does_not_speak_is_said(url: str, what: str) -> None:
    for make in (modbus.StockClient, modbus.StockServer):
        with pytest.raises(UsageError) as refused:
            make(url)
        assert what in str(refused.value)


def test_what_cannot_be_asked_is_said_before_anything_is_sent() -> None:
    with Rig(trace="counts", clock="virtual") as rig:
        rig.add_wire("bus", line="19200 8E1")
        with modbus.StockClient("wire://bus", rig=rig) as client:
            with pytest.raises(UsageError, match="200"):
                client.read_holding(0, 200)
            with pytest.raises(UsageError, match="65536"):
                client.read_holding(0x10000)
            with pytest.raises(UsageError, match="waits for an answer to a broadcast"):
                client.write_register(0, 1, unit=0)
            with pytest.raises(UsageError, match="tokio-modbus has no such request: unsupported MEI type"):
                client.raw_pdu(b"\x2b\x0d\x00")
            assert rig.now().earliest_ns == 0
        with pytest.raises(PortError, match="a stock server cannot run on virtual time"):
            modbus.StockServer("memory://meter", rig=rig)
    with pytest.raises(UsageError, match="0 to 1, not 2"):
        modbus.StockServer(coils={0: 2})
    with pytest.raises(UsageError, match="2 values from address 65535 do not fit"):
        modbus.StockServer(holding={65535: [1, 2]})
    with modbus.StockServer(holding={0: 1}) as server:
        with pytest.raises(UsageError, match="2 values from address 0 are not all there"):
            server.get("holding", 0, 2)
        with pytest.raises(UsageError, match="there is no table `holdings`"):
            server.set("holdings", 0, 2)


def test_many_clients_at_once_and_a_request_that_makes_the_stock_server_panic() -> None:
    with modbus.StockServer(holding={0: [1, 2, 3]}, coils={0: [0] * 8}) as server:
        with modbus.Client(server.url) as one, modbus.Client(server.url, timeout="5s") as other:
            assert one.read_holding(0, 3).values == other.read_holding(0, 3).values == (1, 2, 3)
            # 100 coils in one byte: tokio-modbus 0.17 looks behind the end of them.
            with pytest.raises(PortLost):
                other.raw_pdu(bytes.fromhex("0f 0000 0064 01 00"))
            assert one.read_holding(0, 3).values == (1, 2, 3)
            assert other.read_holding(2).values == (3,), "on a new connection"


def test_ctrl_c_ends_a_request_and_the_next_one_works() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with modbus.Device(holding={0: [7]}) as device, modbus.StockClient(device.url, timeout="60s") as client:
            device.habit("no_answer", True)
            with pytest.raises(KeyboardInterrupt):  # it may come before the request
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                client.read_holding(0)
            device.habit("no_answer", "default")
            assert client.read_holding(0).values == (7,)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_nothing_is_left_of_either() -> None:
    with nothing_left():
        for url in ("tcp://127.0.0.1:0", "pty://?line=115200+8E1"):
            with modbus.StockServer(url, holding={0: [5]}) as server, modbus.StockClient(server.url) as client:
                assert client.read_holding(0).values == (5,)
        # Neither is closed: they end with their last reference.
        server = modbus.StockServer(holding={0: [6]})
        client = modbus.StockClient(server.url)
        assert client.read_holding(0).values == (6,)
        del server, client
