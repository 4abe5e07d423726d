"""What calls give back are values: they can be pickled, and say the same afterwards."""

from __future__ import annotations

import operator
import pickle
from collections.abc import Iterator

import pytest

from fieldrig import Span, Stamp, modbus, mqtt, near
from fieldrig.device import Change
from fieldrig.errors import UsageError
from fieldrig.serial import Console
from fieldrig.stream import Line, Match, Sent, Stream


def copied(value: object) -> object:
    return pickle.loads(pickle.dumps(value))


@pytest.fixture(scope="module")
def client() -> Iterator[modbus.Client]:
    """A client of a device with one named point."""
    points = {"voltage": {"table": "holding", "address": 0, "type": "u16", "scale": 0.1, "unit": "V"}}
    with (
        modbus.Device(holding={0: [2301, 7]}, coils={0: [1, 0, 1]}) as device,
        modbus.Client(device.url, points=points) as made,
    ):
        yield made


def test_answers(client: modbus.Client) -> None:
    for answer in (client.read_holding(0, 2), client.read_coils(0, 3), client.write_register(1, 9)):
        copy = copied(answer)
        assert isinstance(copy, modbus.Answer)
        for name in ("values", "at", "done", "latency", "function", "pdu", "request", "response"):
            assert getattr(copy, name) == getattr(answer, name), name


def test_readings(client: modbus.Client) -> None:
    reading = client.read("voltage")
    copy = copied(reading)
    assert isinstance(copy, modbus.Reading)
    assert (
        (copy.point, copy.value, copy.unit) == ("voltage", 230.1, "V") == (reading.point, reading.value, reading.unit)
    )
    assert (copy.at, copy.done, copy.answer.values) == (reading.at, reading.done, (2301,))


@pytest.mark.parametrize("value", [230, 230.1, True, "230", (2301,), [2301], near(230, 1)])
def test_a_reading_that_is_compared_itself_is_a_mistake_of_the_test_and_no_verdict(
    client: modbus.Client, value: object
) -> None:
    reading = client.read("voltage")
    for compare in (operator.eq, operator.ne, lambda one, other: other == one):
        with pytest.raises(
            UsageError, match=r"USAGE: the reading of `voltage` is compared with .*, not its value"
        ) as told:
            compare(reading, value)
        assert told.value.hint == "write `.value` behind it"
    assert near(230, 1) == reading.value


def test_a_reading_is_neither_true_nor_false(client: modbus.Client) -> None:
    with pytest.raises(UsageError, match="a reading of `voltage` is neither true nor false; its value may be"):
        assert client.read("voltage")


def test_an_answer_that_is_compared_itself_is_a_mistake_of_the_test(client: modbus.Client) -> None:
    answer = client.read_holding(0, 2)
    for value in ((2301, 7), [2301, 7], 2301):
        with pytest.raises(UsageError, match=r"an answer is compared with .*, not its value"):
            assert answer != value
    assert answer == answer and answer != client.read_holding(0, 2) and answer is not None
    assert len({answer, answer}) == 1


def test_what_is_read_is_shown_as_people_write_it(client: modbus.Client) -> None:
    assert repr(client.read("voltage")) == "<Reading voltage = 230.1 V>"
    with pytest.raises(UsageError, match='point `voltage` takes a number, not "hot"'):
        client.write("voltage", "hot")  # type: ignore[arg-type]


def test_points_are_written_by_name_and_in_their_unit(client: modbus.Client) -> None:
    assert client.write("voltage", 231.44).request[-2:] == (2314).to_bytes(2, "big")
    assert client.read("voltage").value == 231.4
    for point, value, text in (
        ("voltage", 6553.7, "cannot hold"),
        ("voltage", "hot", "number"),
        ("power", 1, "voltage"),
    ):
        with pytest.raises(UsageError, match=text):
            client.write(point, value)  # type: ignore[arg-type]
    client.write("voltage", 230.1)


def test_messages_and_publishes() -> None:
    with mqtt.Broker() as broker, mqtt.Client(broker.url) as one, one.watch("a/#", qos=1) as watch:
        sent = one.publish("a/b", json={"on": True}, qos=1)
        message = watch.expect(after=sent, within="10s")
        assert message.json() == {"on": True}
    assert copied(message) == message
    assert copied(sent) == sent


def test_matches_and_lines() -> None:
    with Stream("pty://?line=9600+8N1") as device, Console(device.url) as console:
        asked = console.send("ver")
        assert device.receive(4, within="10s").data == b"ver\n"
        device.send(b"fw 1.42\nready\n")
        match = console.expect(r"fw (?P<major>\d+)\.(?P<minor>\d+)(?P<beta>b)?\n", after=asked, within="10s")
        lines = console.stream.lines(asked.at)
    assert (match["major"], match[2], match["beta"], match.group()) == ("1", "42", None, "fw 1.42\n")
    assert match.named == {"major": "1", "minor": "42", "beta": None}
    assert copied(match) == match
    assert [line.text for line in lines][:1] == ["fw 1.42"]
    assert copied(lines) == lines
    assert copied(asked) == asked


@pytest.mark.parametrize(
    "value",
    [
        Stamp(1, 2),
        Span(-1, 2),
        Change("setpoint", 85.0, Stamp(3)),
        Line("boot ok", Stamp(4)),
        Match(7, Stamp(5), [b"ab", None], [None, "x"]),
        Sent(Stamp(6), Stamp(7), b"\x00"),
        mqtt.Message("t", b"\xff", 1, True, False, Stamp(8)),
        mqtt.Published("t", Stamp(9), Stamp(10)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_that_are_made_by_hand(value: object) -> None:
    assert copied(value) == value
    assert repr(copied(value)) == repr(value)
