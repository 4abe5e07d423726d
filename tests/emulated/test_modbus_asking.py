"""How a Modbus client asks: many at once, again, wrongly on purpose; and what it notices beside answers."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

import fieldrig
from fieldrig import modbus
from fieldrig.errors import (
    ExceptionAnswer,
    InconclusiveError,
    NoAnswer,
    ProtocolError,
    Unanswered,
    UsageError,
)

LINE = "wire://bus"
POINTS = {"voltage": {"table": "input", "address": 0, "scale": 0.1, "unit": "V"}}


@pytest.fixture
def rig() -> Iterator[fieldrig.Rig]:
    with fieldrig.Rig(clock="virtual") as rig:
        rig.add_wire("bus", "19200 8E1")
        yield rig


def pair(rig: fieldrig.Rig, url: str, **keywords: object) -> tuple[modbus.Device, modbus.Client]:
    device = modbus.Device(
        url, holding={0: [100 + index for index in range(50)]}, input={0: [2301, 7]}, coils={0: [True, False]}, rig=rig
    )
    return device, modbus.Client(device.url, rig=rig, points=POINTS, **keywords)  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["memory://meter", LINE])
def test_many_reads_are_answered_in_their_order(rig: fieldrig.Rig, url: str) -> None:
    _, client = pair(rig, url)
    answers = client.read_many([("holding", 3, 2), "voltage", ("coils", 0, 2), ("input", 1), *[("holding", 9)] * 30])
    assert len(answers) == 34 and answers.failed == ()
    assert answers[0].values == (103, 104) and answers[2].values == (True, False) and answers[3].values == (7,)
    assert answers[1].value == pytest.approx(230.1) and answers[1].point == "voltage"
    assert [answer.values for answer in list(answers)[4:]] == [(109,)] * 30
    assert answers[-1] is answers[33] and "34, 0 failed" in repr(answers)
    with pytest.raises(IndexError, match="there are 34 answers, none has index 34"):
        answers[34]
    assert len(client.read_many([])) == 0


def test_what_is_no_value_of_its_point_fails_among_many_too(rig: fieldrig.Rig) -> None:
    device = modbus.Device("memory://meter", holding={0: [0xABCD, 0x0042]}, rig=rig)
    points = {"count": {"table": "holding", "address": 0, "type": "bcd"}, "next": {"table": "holding", "address": 1}}
    client = modbus.Client(device.url, rig=rig, points=points)
    answers = client.read_many(["next", "count"], raise_first=False)
    assert answers.failed == (1,) and isinstance(answers[1], ProtocolError) and "1 failed" in repr(answers)
    with pytest.raises(ProtocolError, match="digits above 9"):
        client.read_many(["next", "count"])


def test_what_fails_among_many_stands_in_its_place_or_raises(rig: fieldrig.Rig) -> None:
    _, client = pair(rig, "memory://meter")
    items = [("holding", 0), ("holding", 200), ("holding", 1)]
    answers = client.read_many(items, raise_first=False)
    assert answers.failed == (1,)
    assert isinstance(answers[1], ExceptionAnswer) and answers[2].values == (101,)
    with pytest.raises(ExceptionAnswer, match="exception 0x02"):
        client.read_many(items)


def test_no_item_is_sent_if_one_is_wrong(rig: fieldrig.Rig) -> None:
    _, client = pair(rig, "memory://meter")
    for items, told in [
        ([("holding", 0), ("holding", 0, 126)], "item 1 of read_many: .* 126, function 0x03 allows 1 to 125"),
        ([("holding", 65535, 2)], "item 0 of read_many: "),
        ([("holding", 70000)], "address of item 0 is 0 to 65535, not 70000"),
        ([("registers", 0)], "item 0 of read_many is "),
        ([5], "item 0 of read_many is 5: write the name of a point"),
        (["current"], "there is no point `current`"),
    ]:
        with pytest.raises(UsageError, match=told):
            client.read_many(items)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="in_flight is 1 to 1024, not 0"):
        client.read_many([("holding", 0)], in_flight=0)


def test_more_in_flight_takes_less_time(rig: fieldrig.Rig) -> None:
    device, client = pair(rig, "memory://meter")
    device.habit("delay_answer", "10ms")

    def takes(in_flight: int) -> int:
        begun = rig.now()
        client.read_many([("holding", 0)] * 32, in_flight=in_flight)
        return (rig.now() - begun).latest_ns

    assert takes(16) < takes(1)


def test_a_late_answer_on_a_line_is_no_data_of_the_next_read(rig: fieldrig.Rig) -> None:
    device, client = pair(rig, LINE, timeout="100ms")
    assert client.read_holding(0).values == (100,)
    device.habit("delay_answer", "250ms")
    asked = rig.now()
    for address in (0, 1):
        with pytest.raises(NoAnswer):
            client.read_holding(address)
    device.habit("delay_answer", "default")
    assert client.read_holding(2).values == (102,)
    late = [stray for stray in client.strays(after=asked) if stray.kind == "late"]
    assert late and late[0].bytes[:5] == bytes([1, 3, 2, 0, 100]) and "given up before" in late[0].reason
    assert client.strays(after=rig.now()) == []


def test_what_a_client_noticed_can_be_asked_for(rig: fieldrig.Rig) -> None:
    device, client = pair(rig, "memory://meter")
    device.habit("delay_answer", "150ms")
    with pytest.raises(Unanswered):
        client.read_holding(0, timeout="100ms")
    rig.sleep("1s")
    kinds = [event.kind for event in client.events()]
    assert kinds[0] == "connected" and kinds[-1] == "late"
    assert [stray.kind for stray in client.strays()] == ["late"]


def test_retries_are_on_the_answer_and_in_the_failure(rig: fieldrig.Rig) -> None:
    device, client = pair(rig, "memory://meter", timeout="100ms")
    assert client.read_holding(0).attempts == ()
    device.habit("no_answer")
    patient = client.asking(retries=2)
    with pytest.raises(NoAnswer, match=r"within 100 ms \(3 attempts\)"):
        patient.read_holding(0)
    with pytest.raises(NoAnswer, match="within 100 ms$"):
        patient.write_register(0, 1)
    with pytest.raises(NoAnswer, match="3 attempts"):
        patient.asking(retry_writes=True).write_register(0, 1)
    assert [event.kind for event in client.events()].count("retry") == 4


def test_an_answer_shows_the_attempts_before_it_and_survives_pickling(rig: fieldrig.Rig) -> None:
    device, client = pair(rig, "memory://meter")
    device.habit("delay_answer", "150ms")
    rig.sleep("10ms")
    answer = client.asking(retries=3).read_many([("holding", 0)], timeout="200ms")[0]
    assert answer.attempts == ()
    device.habit("protocol_id", 1)
    with pytest.raises(ProtocolError, match="4 attempts"):
        client.asking(retries=3).read_holding(0)
    lenient = client.asking(mode="lenient").read_holding(0)
    assert lenient.values == (100,)
    assert lenient.deviations == (("protocol", "protocol id at offset 2 is 0x0001, 0 is Modbus"),)
    assert pickle.loads(pickle.dumps(lenient)).deviations == lenient.deviations
    assert "deviation" in [event.kind for event in client.events()]


def test_raw_asks_anything_and_takes_whatever_comes(rig: fieldrig.Rig) -> None:
    device, client = pair(rig, "memory://meter")
    with pytest.raises(UsageError, match="allows 1 to 125"):
        client.read_holding(0, 126)
    raw = client.asking(mode="raw")
    with pytest.raises(ExceptionAnswer, match="exception 0x03"):
        raw.read_holding(0, 126)
    device.habit("byte_count_delta", 2)
    answer = raw.read_holding(0)
    assert answer.deviations[0][0] == "malformed"
    with pytest.raises(UsageError, match='mode: it is "strict", "lenient" or "raw", not "loose"'):
        client.asking(mode="loose")  # type: ignore[arg-type]


def test_fields_can_be_wrong_and_frames_can_be_anything(rig: fieldrig.Rig) -> None:
    _, client = pair(rig, "memory://meter")
    answer = client.asking(patch={"transaction": 0x1234}).read_holding(0)
    assert answer.request[:2] == answer.response[:2] == b"\x12\x34"
    with pytest.raises(NoAnswer):
        client.asking(patch={"protocol": 7}).read_holding(0, timeout="100ms")
    assert client.raw_frame(bytes.fromhex("abcd 0000 0006 01 03 0001 0001")).values == (101,)
    with pytest.raises(UsageError, match="a raw frame is sent as it is, and there is a patch"):
        client.asking(patch={"length": 99}).raw_frame(bytes.fromhex("abcd 0000 0006 01 03 0001 0001"))
    for patch, told in [({"crc": 1}, "Modbus/TCP has no such field"), ({"speed": 1}, "the fields are transaction")]:
        with pytest.raises(UsageError, match=told):
            client.asking(patch=patch).read_holding(0)
    with pytest.raises(UsageError, match="crc is 0 to 65535, not 65536"):
        client.asking(patch={"crc": 65536})


def test_a_wrong_crc_is_not_answered_and_a_right_one_is(rig: fieldrig.Rig) -> None:
    _, client = pair(rig, LINE, timeout="100ms")
    client.read_holding(0)
    with pytest.raises(NoAnswer):
        client.asking(patch={"crc": 0}).read_holding(0)
    assert client.read_holding(1).values == (101,)


def test_gaps_inside_a_frame_are_kept_to_the_nanosecond(rig: fieldrig.Rig) -> None:
    """t1.5 at 19200 baud is 859.375 us: a device that keeps to the letter drops what is longer (SL 2.5.1.1)."""
    device = modbus.Device(LINE, holding={0: [5]}, rig=rig)
    client = modbus.Client(device.url, timeout="100ms", rig=rig)
    assert client.asking(split=[(4, "859375ns")]).read_holding(0).values == (5,)
    with pytest.raises(NoAnswer):
        client.asking(split=[(4, "859376ns")]).read_holding(0)
    with pytest.raises(UsageError, match="a pause before byte 8 lies outside the frame"):
        client.asking(split=[(8, "1ms")]).read_holding(0)
    assert client.asking(gap_before="5ms").read_holding(0).values == (5,)


def test_requests_are_paced(rig: fieldrig.Rig) -> None:
    _, client = pair(rig, "memory://meter", pace="50ms")
    first = client.read_holding(0)
    second = client.read_holding(0)
    assert (second.at - first.done).earliest_ns >= 50_000_000


def test_ids_that_collide_make_answers_that_are_nobodys(rig: fieldrig.Rig) -> None:
    device, client = pair(rig, "memory://meter", transactions="colliding")
    device.habit("delay_answer", "10ms")
    answers = client.read_many([("holding", 0), ("holding", 1), ("holding", 2, 2)], raise_first=False)
    assert answers[2].values == (102, 103) and answers.failed == (0, 1)
    assert all(isinstance(answers[index], InconclusiveError) for index in (0, 1))
    _, fixed = pair(rig, "memory://other", transactions="fixed:7")
    assert [fixed.read_holding(0).request[:2] for _ in range(3)] == [b"\0\7"] * 3
    with pytest.raises(UsageError, match='transactions are "sequential"'):
        modbus.Client(device.url, rig=rig, transactions="random")
