"""What comes over a described protocol beside the answers: by itself, while one is awaited, too much, unreadable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fieldrig import Rig, protocol
from fieldrig.errors import (
    ExpectationFailed,
    InconclusiveError,
    NoAnswer,
    ObserverBlind,
    Unanswered,
    UnexpectedEvent,
    UsageError,
)
from fieldrig.stimulus import Program
from fieldrig.stream import Stream

NUMBERED = protocol.Protocol(
    {
        "name": "numbered",
        "frame": {
            "by": "length",
            "start": "aa",
            "header": {"number": "u8 sequence", "kind": "u8 tag", "size": "u8 length"},
            "checksum": "sum8",
        },
        "message": {
            "status": {"tag": 1, "answer": "report", "needs": "nothing"},
            "report": {"tag": 2, "fields": {"volts": "u8"}, "unasked": True},
            "level": {"tag": 3, "fields": {"level": "u8"}, "answer": "done"},
            "done": {"tag": 4},
            "alarm": {"tag": 5, "from": "device", "fields": {"code": "u8"}},
        },
    }
)
PLAIN = protocol.Protocol(
    {
        "name": "plain",
        "frame": {"by": "delimiter", "end": "0a", "header": {"kind": "dec[1] tag"}},
        "message": {
            "status": {"tag": 1, "answer": "report"},
            "report": {"tag": 2, "fields": {"volts": "dec[2]"}},
            "alarm": {"tag": 5, "fields": {"code": "dec[2]"}},
        },
        "client": {"timeout": "100ms"},
    }
)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig(clock="virtual", trace="counts") as rig:
        rig.add_wire("line")
        yield rig


@pytest.fixture
def device(rig: Rig) -> Stream:
    return Stream("wire://line", rig=rig)


def frame(message: str, sequence: int = 0, **fields: int) -> bytes:
    return NUMBERED.encode(message, fields, sequence=sequence)


def test_what_comes_by_itself_between_request_and_answer_is_no_answer_and_accuses_nobody(
    rig: Rig, device: Stream
) -> None:
    client = protocol.Client("wire://line", NUMBERED, rig=rig)
    pushed = frame("alarm", 9, code=7) + frame("report", 9, volts=5)
    device.begin(Program().wait(5, within="1h").send(pushed).send(frame("report", 0, volts=48), after="10ms"))
    answer = client.ask("status")
    assert answer["volts"] == 48
    assert [come.kind for come in client.frames()] == ["unsolicited", "unsolicited", "answer"]
    assert client.expect("report", after=answer, within="1s")["volts"] == 5
    assert client.expect("alarm", after=answer, within="1s", code=7).place == 0


def test_a_message_that_may_be_an_answer_or_not_accuses_nobody(rig: Rig, device: Stream) -> None:
    client = protocol.Client("wire://line", NUMBERED, rig=rig)
    device.begin(Program().wait(6, within="1h").send(frame("done", 9)).send(frame("done", 0), after="10ms"))
    answer = client.ask("level", level=3)
    with pytest.raises(InconclusiveError, match=r"stray: done .* unasked = true into \[message.done\]"):
        client.expect("done", after=answer, within="1s")
    with pytest.raises(InconclusiveError, match="may be"):
        client.expect_none("done", after=answer, for_="1s")
    assert client.expect("done", kind="stray", after=answer, within="1s")["number"] == 9
    client.expect_none("report", after=answer, for_="1s")


def test_without_numbers_a_late_answer_may_have_come_by_itself(rig: Rig, device: Stream) -> None:
    client = protocol.Client("wire://line", PLAIN, rig=rig)
    device.begin(
        Program()
        .wait("1\n", within="1h")
        .send(b"201\n")
        .wait("1\n", within="1h")
        .send(b"507\n202\n", after="150ms")
        .wait("1\n", within="1h")
        .send(b"203\n")
    )
    first = client.ask("status")
    with pytest.raises(NoAnswer):
        client.ask("status")
    assert (first["volts"], client.ask("status")["volts"]) == (1, 3)
    assert [come.kind for come in client.frames()] == ["answer", "unsolicited", "late", "answer"]
    with pytest.raises(InconclusiveError, match="an answer that came late, or have come by itself"):
        client.expect("report", after=first, within="1s", volts=2)
    assert client.expect("alarm", after=first, within="1s")["code"] == 7


def test_requests_that_wait_for_nothing_are_answered_in_the_inbox(rig: Rig, device: Stream) -> None:
    client = protocol.Client("wire://line", NUMBERED, rig=rig)
    first = client.send("status")
    client.send("status")
    assert device.receive(10, within="1s").data == frame("status", 0) + frame("status", 1)
    device.send(frame("report", 1, volts=2) + frame("report", 0, volts=1))
    assert client.expect("report", after=first, within="1s", number=0)["volts"] == 1
    assert client.expect("report", after=first, within="1s", number=1)["volts"] == 2


def test_behind_10_000_frames_each_is_still_matched_once(rig: Rig, device: Stream) -> None:
    client = protocol.Client("wire://line", NUMBERED, rig=rig)
    sent = client.send("status")
    flood = frame("alarm", code=0)
    for _ in range(51):
        device.send(flood * 200)
        rig.sleep("1ms")
    assert len(client.frames()) == 10_000 and client.frames()[0].place == 200
    device.send(frame("alarm", code=1) + frame("alarm", code=2) + frame("alarm", code=1))
    assert client.expect("alarm", within="1s", code=2).place == 10_201
    assert client.expect("alarm", within="1s", code=1).place == 10_200
    assert client.expect("alarm", within="1s", code=1).place == 10_202
    with pytest.raises(InconclusiveError, match="203 frames were dropped"):
        client.expect("alarm", after=sent, within="1s", code=2)
    client._inbox.forget()  # as a new test does
    device.send(frame("alarm", code=3))
    assert client.expect("alarm", within="1s").fields["code"] == 3


def test_what_cannot_be_read_may_have_been_what_was_not_to_come(rig: Rig, device: Stream) -> None:
    client = protocol.Client("wire://line", NUMBERED, rig=rig)
    broken = frame("alarm", code=7)[:-1] + b"\x00"
    unread, unfinished = (
        "something came that cannot be read: it may have been that",
        "bytes came that are no whole frame",
    )
    for what, why in ((broken, unread), (b"\x01\x02\x03", unfinished), (b"\xaa\x00\x05\x01", f"{unread}|{unfinished}")):
        sent = client.send("status")
        device.send(what)
        with pytest.raises(ObserverBlind, match=why):
            client.expect_none("alarm", after=sent, for_="1s")
    device.send(b"\x07\x0d")
    client.expect("alarm", within="1s")
    sent = client.send("status")
    device.send(frame("report", volts=1))
    client.expect_none("alarm", after=sent, for_="1s")
    sent = client.send("status")
    device.send(frame("alarm", code=1))
    with pytest.raises(UnexpectedEvent):
        client.expect_none("alarm", after=sent, for_="1s")


def test_an_overrun_port_proves_no_silence_and_accuses_nobody(rig: Rig, device: Stream) -> None:
    client = protocol.Client("wire://line", NUMBERED, rig=rig)
    device.begin(Program().wait(5, within="1h").send(frame("report", 0, volts=1)))
    client.ask("status")
    sent = client.send("status")
    rig.fault_wire("line", "overrun", count=1)
    device.send(frame("alarm", code=7))
    with pytest.raises(ObserverBlind, match="the port was overrun: bytes were lost"):
        client.expect_none("alarm", after=sent, for_="1s")
    with pytest.raises(InconclusiveError, match="overrun"):
        client.expect("alarm", after=sent, within="1s")
    rig.fault_wire("line", "overrun", count=1, after=5)
    device.begin(Program().wait(5, within="1h").send(frame("report", 2, volts=1)))
    with pytest.raises(Unanswered):
        client.ask("status")
    sent = client.send("status")
    client.expect_none("alarm", after=sent, for_="1s")
    with pytest.raises(ExpectationFailed):
        client.expect("alarm", after=sent, within="1s")


def test_what_no_message_is_called_is_not_waited_for(rig: Rig) -> None:
    client = protocol.Client("wire://line", NUMBERED, rig=rig)
    with pytest.raises(UsageError, match="numbered has no message `alram`") as refused:
        client.expect("alram", within="1s")
    assert refused.value.hint == "did you mean `alarm`?"
    with pytest.raises(UsageError, match="kind= is one of unsolicited, late, .*, not 'lost'"):
        client.expect_none(kind="lost", for_="1s")


def test_what_a_field_could_never_hold_is_not_waited_for(rig: Rig) -> None:
    client = protocol.Client("wire://line", NUMBERED, rig=rig)
    with pytest.raises(UsageError, match="`alarm` has no field `cod`") as refused:
        client.expect_none("alarm", cod=7, for_="1s")
    assert refused.value.hint == "did you mean `code`?"
    with pytest.raises(UsageError, match="`code` takes 0 to 255, not 700"):
        client.expect("alarm", code=700, within="1s")
    with pytest.raises(UsageError, match="no message of numbered has a field `amps`"):
        client.expect_none(amps=1, for_="1s")
    with pytest.raises(UsageError, match="garbage is no message and has no fields"):
        client.expect_none(kind="garbage", code=7, for_="1s")


def test_a_field_holds_what_is_expected_if_its_bytes_say_so(rig: Rig, device: Stream) -> None:
    fields = {
        "volts": {"type": "i16", "scale": 0.1},
        "ratio": "f32",
        "mode": {"type": "u8", "enum": {"off": 0, "on": 1}},
    }
    message = {"tag": 1, "from": "device", "fields": fields}
    frame = {"by": "delimiter", "end": "0a", "header": {"kind": "u8 tag"}}
    measured = protocol.Protocol({"name": "measured", "frame": frame, "message": {"report": message}})
    client = protocol.Client("wire://line", measured, rig=rig)
    said = measured.encode("report", {"volts": 23.4, "ratio": 23.4, "mode": "on"})
    for values in ({"volts": 23.4}, {"ratio": 23.4}, {"mode": "on"}, {"mode": 1}):
        sent = client.raw(b"x")
        device.send(said)
        came = client.expect("report", after=sent, within="1s", **values)
        assert came["volts"] == 23.4
        sent = client.raw(b"x")
        device.send(said)
        with pytest.raises(UnexpectedEvent):
            client.expect_none("report", after=sent, for_="1s", **values)
    for values in ({"volts": 23.5}, {"ratio": 23.5}, {"mode": "off"}):
        sent = client.raw(b"x")
        device.send(said)
        client.expect_none("report", after=sent, for_="1s", **values)


def test_a_message_with_another_constant_is_wrong_and_answers_nothing(rig: Rig, device: Stream) -> None:
    frame = {"by": "delimiter", "end": "0a", "header": {"kind": "u8 tag"}}
    message = {"report": {"tag": 1, "fields": {"version": "u8 = 7", "n": "u8"}}, "ask": {"tag": 2, "answer": "report"}}
    versioned = protocol.Protocol({"name": "versioned", "frame": frame, "message": message})
    client = protocol.Client("wire://line", versioned, rig=rig)
    device.begin(Program().wait(2, within="1h").send(b"\x01\x08\x00\n").send(b"\x01\x07\x01\n", after="10ms"))
    assert client.ask("ask")["n"] == 1
    wrong = client.frames()[0]
    assert (wrong.kind, wrong.problems) == ("wrong", ("version at offset 1 is 08, it is always 07",))
