"""Descriptions and expectations that look fine and would check nothing, or accuse a correct device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fieldrig import Rig, protocol
from fieldrig.errors import Unanswered, UnexpectedEvent, UsageError

HEADER = {"kind": "u8 tag", "size": "u8 length"}
ASKED = {"tag": 1, "answer": "b"}
ANSWER = {"tag": 2, "fields": {"x": "u8"}}


def described(frame: dict[str, Any], answer: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    frame = {"by": "length", "header": HEADER, **frame}
    return {"name": "t", "frame": frame, "message": {"a": ASKED, "b": answer or ANSWER}, **more}


def delimited(**frame: Any) -> dict[str, Any]:
    return described({"by": "delimiter", "header": {"kind": "u8 tag"}, **frame})


def field(**keys: Any) -> dict[str, Any]:
    return {"tag": 2, "fields": {"n": keys, "x": "u8[n]"}}


CRC = {"type": "u16", "checksum": "crc-16/modbus"}
UNSOUND = {
    "a checksum from behind to before": (
        described({"checksum": {"name": "crc-8/maxim", "from": "size", "to": "kind"}}),
        "covers nothing",
    ),
    "a checksum over itself": (described({"trailer": {"c": {**CRC, "to": "c"}}}), "worked out no earlier"),
    "a checksum over a later one": (
        described({"header": {**HEADER, "c": {**CRC, "to": "d"}}, "trailer": {"d": CRC}}),
        "worked out no earlier",
    ),
    "a checksum over no start": (described({"checksum": {"name": "sum8", "start": True}}), "there is none"),
    "a checksum over one of two starts": (
        described({"start": ["aa", "bb"], "checksum": {"name": "sum8", "start": True}}),
        "several",
    ),
    "a checksum that is a constant": (described({"trailer": {"c": {**CRC, "value": 5}}}), "exclude each other"),
    "a checksum that is a tag": (described({"trailer": {"c": {**CRC, "type": "u16 tag"}}}), "what the field is for"),
    "a length that is a constant": (
        described({"header": {"kind": "u8 tag", "size": "u8 length = 1"}}),
        "always the same can be no",
    ),
    "from without a checksum": (described({"trailer": {"c": {"type": "u16", "from": "kind"}}}), "goes with a checksum"),
    "counts without a length": (
        described({"header": {**HEADER, "n": {"type": "u8", "counts": "body"}}}),
        "goes with a length",
    ),
    "a real sequence number": (
        described({"header": {**HEADER, "n": {"type": "f32", "is": "sequence"}}}),
        "only unsigned",
    ),
    "two sequence numbers": (described({"header": {**HEADER, "n": "u8 sequence", "m": "u8 sequence"}}), "one sequence"),
    "a sequence number in a message": (described({}, {"tag": 2, "fields": {"n": "u8 sequence"}}), "in the header"),
    "an end that begins another": (delimited(end=["0d", "0d0a"]), "begins with another"),
    "a start twice": (delimited(end="0a", start=["aa", "aa"]), "begins with another"),
    "an escape that makes an end": (delimited(end="0a", escape={"byte": "2a", "xor": 0x20}), "is a marker"),
    "an escape that knows another end": (delimited(end="0a", escape="slip"), "says not how 0a"),
    "an escape with one partner for two": (
        delimited(end="0a", escape={"byte": "db", "map": {"0a": "dc", "db": "dc"}}),
        "two bytes",
    ),
    "COBS with an end in its data": (described({"by": "cobs", "header": {"kind": "u8 tag"}, "end": "0a"}), "COBS"),
    "no frame in the limit": (described({"limit": 1}), "no frame fits"),
    "a whole frame between unequal starts": (
        described(
            {"start": ["aa55", "bb"], "header": {"kind": "u8 tag", "size": {"type": "u8 length", "counts": "frame"}}}
        ),
        "equally long",
    ),
    "an answer of the client": (described({}, {**ANSWER, "from": "client"}), "comes from the same side"),
    "a repeated tag": (described({}, client={"same": ["kind"]}), "has another `kind`"),
    "a repeated length": (described({}, client={"same": ["size"]}), "need not repeat"),
    "a count with names": (described({}, field(type="u8", enum={"two": 2})), "is no count"),
    "a real count": (described({}, field(type="f32")), "is no count"),
    "one number with two names": (described({}, field(type="u8", enum={"on": 1, "off": 1})), "`on` already"),
    "an offset of a real number": (described({}, field(type="f32", offset=10)), "only integers"),
}


@pytest.mark.parametrize("what", UNSOUND)
def test_a_description_that_checks_nothing_or_cannot_be_fulfilled_is_refused(what: str) -> None:
    description, problem = UNSOUND[what]
    with pytest.raises(UsageError, match=problem):
        protocol.Protocol(description)


@pytest.mark.parametrize(
    "description",
    [
        described({"checksum": {"name": "sum8", "from": "payload", "to": "payload"}}),
        described({"start": "aa", "checksum": {"name": "sum8", "start": True, "from": "kind", "to": "size"}}),
        described({"header": {**HEADER, "c": {**CRC, "to": "size"}}, "trailer": {"d": CRC}}),
        delimited(start="1002", end="1003", escape={"byte": "10", "map": {"10": "10"}}),
        delimited(start="7e", end="7e", escape="hdlc"),
        delimited(end=["0a", "0d0a"]),
        described({"by": "slip", "header": {"kind": "u8 tag"}}),
        described({"by": "cobs", "header": {"kind": "u8 tag"}}),
        described({"by": "hdlc", "header": {"kind": "u8 tag"}, "checksum": {"name": "fcs-16", "order": "little"}}),
    ],
)
def test_what_is_sound_is_read(description: dict[str, Any]) -> None:
    sound = protocol.Protocol(description)
    assert sound.dissect(sound.encode("b", {"x": 0x10}), "device").render()


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig(clock="virtual", trace="counts") as rig:
        yield rig


def test_a_constant_in_a_message_is_checked(rig: Rig) -> None:
    fixed = protocol.Protocol(described({}, {"tag": 2, "fields": {"x": "u8 = 0x10"}}))
    with protocol.Device("memory://d", fixed, rig=rig, handler=lambda _: b"\x02\x01\x11"):
        with protocol.Client("memory://d", fixed, rig=rig) as client:
            with pytest.raises(Unanswered, match="x at offset 2 is 11, it is always 10"):
                client.ask("a")
            assert [frame.kind for frame in client.frames()] == ["wrong"]


FIELDS = {
    "n": "u8",
    "x": "u16[n]",
    "s": {"type": "u8", "scale": 0.1, "offset": -40},
    "e": {"type": "u8", "enum": {"run": 1}},
    "f": "f32",
}
RICH = protocol.Protocol(described({}, {"tag": 2, "fields": FIELDS}))
SENT = {"x": [1, 2], "s": -39.7, "e": "run", "f": 0.1}


@pytest.fixture
def ends(rig: Rig) -> Iterator[tuple[protocol.Device, protocol.Client]]:
    with (
        protocol.Device("memory://d", RICH, rig=rig) as device,
        protocol.Client("memory://d", RICH, rig=rig) as client,
    ):
        yield device, client


@pytest.mark.parametrize("wanted", [{"x": [1, 2]}, {"x": (1, 2)}, {"s": -39.7}, {"e": "run"}, {"e": 1}, {"f": 0.1}])
def test_a_value_is_found_however_it_is_written(
    ends: tuple[protocol.Device, protocol.Client], wanted: dict[str, Any]
) -> None:
    device, client = ends
    device.send("b", SENT)
    assert client.expect("b", within="1s", **wanted).message == "b"
    client.raw(b"\x01\x00")
    device.send("b", SENT)
    with pytest.raises(UnexpectedEvent):
        client.expect_none("b", for_="1s", **wanted)


@pytest.mark.parametrize("wanted", [{"x": [1, 3]}, {"s": -39.6}, {"f": 0.1001}, {"e": 2}])
def test_another_value_is_not_found(ends: tuple[protocol.Device, protocol.Client], wanted: dict[str, Any]) -> None:
    device, client = ends
    device.send("b", SENT)
    client.expect_none("b", for_="1s", **wanted)


@pytest.mark.parametrize(
    ("message", "wanted", "problem"),
    [
        ("b", {"ss": 1}, "`b` has no field `ss`"),
        (None, {"ss": 1}, "no message of t has a field `ss`"),
        ("a", {"s": 1}, "`a` has no field `s`"),
        ("b", {"e": "runn"}, "`run` or a number"),
        ("b", {"n": 300}, "0 to 255"),
        ("b", {"s": -39.72}, "never holds -39.72"),
    ],
)
def test_what_can_never_come_is_a_mistake_of_the_test(
    ends: tuple[protocol.Device, protocol.Client], message: str | None, wanted: dict[str, Any], problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        ends[1].expect_none(message, for_="1s", **wanted)


def test_garbage_is_no_message(ends: tuple[protocol.Device, protocol.Client]) -> None:
    with pytest.raises(UsageError, match="garbage is no message"):
        ends[1].expect_none("b", kind="garbage", for_="1s")
