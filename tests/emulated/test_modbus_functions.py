"""The functions beside the four tables: client against emulated device, by name, on virtual time."""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fieldrig import Rig, modbus
from fieldrig.errors import ExceptionAnswer, NoAnswer, ProtocolError, UsageError

LINE = "wire://bus"


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig(clock="virtual", trace="counts") as rig:
        rig.add_wire("bus", line="19200 8E1")
        yield rig


@pytest.fixture
def device(rig: Rig) -> Iterator[modbus.Device]:
    with modbus.Device(
        LINE,
        holding={0: [1, 2, 3]},
        files={4: [1, 2, 3], 5: {100: [7, 8]}},
        fifos={1000: [440, 308], 6: range(40)},
        identification={0: "Vendor", 1: "Code", 2: "1.0", 0x80: "x" * 240, 0x90: b"end"},
        server_id="Pump 7",
        exception_status=0x5A,
        diagnostic_register=0x1234,
        units={2: {"holding": {0: [9]}, "functions": [3, 6]}},
        rig=rig,
    ) as device:
        yield device


@pytest.fixture
def client(rig: Rig, device: modbus.Device) -> Iterator[modbus.Client]:
    with modbus.Client(LINE, rig=rig) as client:
        yield client


def test_every_function_has_a_name_and_its_answer_fields(client: modbus.Client) -> None:
    asked: list[tuple[modbus.Answer, dict[str, object]]] = [
        (client.read_exception_status(), {"status": 0x5A}),
        (client.diagnostics(0, [1, 2, 3]), {"sub": 0, "data": (1, 2, 3)}),
        (client.diagnostics(2), {"sub": 2, "data": (0x1234,)}),
        (client.comm_event_counter(), {"status": 0, "events": 3}),
        (client.report_server_id(), {"data": b"Pump 7\xff"}),
        (client.read_file([(4, 0, 2), (5, 100, 2)]), {"records": ((1, 2), (7, 8))}),
        (client.write_file([(4, 1, [55])]), {"records": ((4, 1, (55,)),)}),
        (client.read_file([(4, 0, 3)]), {"records": ((1, 55, 3),)}),
        (client.read_fifo(1000), {"values": (440, 308)}),
        (client.read_holding(0, 2), {"values": (1, 2)}),
        (client.write_register(0, 5), {"address": 0, "value": 5}),
    ]
    for answer, fields in asked:
        assert answer.fields == fields
        assert pickle.loads(pickle.dumps(answer)).fields == fields
    log = client.comm_event_log().fields
    assert (log["messages"], log["log"][:3]) == (12, (0x80, 0x40, 0x80))


def test_the_identification_is_read_to_its_end(client: modbus.Client) -> None:
    basic = {0: b"Vendor", 1: b"Code", 2: b"1.0"}
    assert client.read_device_id().fields["objects"] == basic
    whole = client.read_device_id(3)
    assert whole.fields["objects"] == {**basic, 0x80: b"x" * 240, 0x90: b"end"}
    assert (whole.fields["more"], whole.fields["conformity"]) == (False, 0x83)
    assert client.read_device_id(4, 1).fields["objects"] == {1: b"Code"}


def test_an_identification_that_goes_in_circles_is_no_proper_answer() -> None:
    # Each answer alone may be right: it names one object, and another one that follows.
    answers = [b"\x2b\x0e\x03\x01\xff\x05\x01\x00\x01a", b"\x2b\x0e\x03\x01\xff\x05\x01\x00\x01a"]
    with server_that_says(answers) as url, modbus.Client(url) as client:
        with pytest.raises(ProtocolError, match="an object that follows .* is 0x00, one not given before is allowed"):
            client.read_device_id(3)


@contextmanager
def server_that_says(pdus: list[bytes]) -> Iterator[str]:
    """Answers one request after another with these PDUs."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            for pdu in pdus:
                request = connection.recv(260)
                connection.sendall(modbus.adu_tcp(int.from_bytes(request[:2]), request[6], pdu))

    with listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_what_cannot_be_is_refused_before_it_is_sent(client: modbus.Client) -> None:
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: client.read_file([(0, 0, 1)]), "the file number is 0, 1 to 65535 are allowed"),
        (lambda: client.read_file([(1, 0, 200)]), "the byte count of the answer is 402, 4 to 245 are allowed"),
        (lambda: client.write_file([(1, 9999, [1, 2])]), "the last record is 10000, 0 to 9999 are allowed"),
        (lambda: client.diagnostics(2, [1]), "one word, 0x0000, is allowed"),
        (lambda: client.read_device_id(9), "the code at offset 2 is 0x09, 1 to 4 is allowed"),
        (lambda: client.read_file([(1, 70000, 1)]), "record is 0 to 65535, not 70000"),
    ]
    for ask, text in refused:
        with pytest.raises(UsageError, match=text):
            ask()


def test_a_device_told_to_only_listen_is_silent_until_it_is_restarted(client: modbus.Client) -> None:
    client.read_holding(0)
    assert client.diagnostics(4).response == b""
    with pytest.raises(NoAnswer):
        client.read_holding(0, timeout="200ms")
    with pytest.raises(NoAnswer):
        client.diagnostics(1, timeout="200ms")
    assert client.read_holding(0, timeout="200ms").values == (1,)


def test_units_behind_one_line_have_tables_and_functions_of_their_own(
    client: modbus.Client, device: modbus.Device
) -> None:
    assert client.read_holding(0, unit=2).values == (9,)
    client.write_register(0, 33, unit=0)
    assert (client.read_holding(0).values, client.read_holding(0, unit=2).values) == ((33,), (33,))
    assert (device.get("holding", 0), device.get("holding", 0, unit=2)) == ((33,), (33,))
    device.set("holding", 0, 44, unit=2)
    assert client.read_holding(0, unit=2).values == (44,)
    with pytest.raises(ExceptionAnswer, match="illegal function"):
        client.read_fifo(1000, unit=2)
    with pytest.raises(UsageError, match="the device has no unit 9"):
        device.get("holding", 0, unit=9)


def test_functions_of_serial_lines_are_off_on_tcp_unless_they_are_listed(rig: Rig) -> None:
    with modbus.Device("memory://plain", rig=rig), modbus.Client("memory://plain", rig=rig) as client:
        for ask in (client.read_exception_status, client.report_server_id, client.comm_event_log):
            with pytest.raises(ExceptionAnswer, match="illegal function"):
                ask()
    listed = modbus.Device("memory://listed", functions=[3, 7, 17], rig=rig)
    with listed, modbus.Client("memory://listed", rig=rig) as client:
        assert client.read_exception_status().fields == {"status": 0}
        assert client.report_server_id().fields == {"data": b"fieldrig\xff"}


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"identification": {0: "Vendor"}}, "object 1 is missing: 0, 1 and 2 are mandatory"),
        ({"identification": {0: "a", 1: "b", 2: "c" * 245}}, "object 2 has 245 bytes, at most 244 fit"),
        ({"conformity": 3}, "there is no `identification` to show"),
        ({"files": {0: [1]}}, "`0` is not an address: 1 to 65535"),
        ({"files": {1: {9999: [1, 2]}}}, "2 records from 9999 end beyond record 9999"),
        ({"fifos": {1: [70000]}}, "an integer from 0 to 65535, not 70000"),
        ({"units": {1: {}}}, "1 is the unit of the device itself"),
        ({"units": {300: {}}}, "`300` is not a unit id: 1 to 247"),
        ({"units": {2: {"holdin": [1]}}}, "unknown key `holdin`"),
        ({"server_id": "x" * 251}, "at most 250 fit into a PDU"),
        ({"exception_status": 256}, "an integer from 0 to 255, not 256"),
    ],
)
def test_settings_that_cannot_be_name_the_key_and_the_value(rig: Rig, keywords: dict[str, object], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        modbus.Device("memory://none", rig=rig, **keywords)  # type: ignore[arg-type]
