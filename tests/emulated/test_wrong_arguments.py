"""Wrong arguments: a `UsageError` that names the argument and shows the value, before anything is opened or sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fieldrig import Rig, Span, Stamp, protocol, timing
from fieldrig.errors import UsageError
from fieldrig.serial import Console
from fieldrig.stream import Stream

ACME: dict[str, Any] = {
    "name": "acme",
    "frame": {
        "by": "length",
        "start": "aa 55",
        "header": {"address": "u8", "kind": "u8 tag", "size": "u8 length"},
        "checksum": "crc-16/modbus",
    },
    "message": {
        "status": {"tag": 1, "answer": "report"},
        "limit": {"tag": 2, "fields": {"amps": "u16"}},
        "report": {"tag": 0x81, "fields": {"voltage": "u16"}},
    },
    "answer": [
        {"on": "status", "with": "report"},
        {"on": "limit", "set": {"highest": "{amps}"}},
        {"every": "1h", "with": "report", "fields": {"address": "{own_address}"}},
    ],
}


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig(clock="virtual", trace="counts") as rig:
        rig.add_wire("line")
        yield rig


@pytest.fixture(scope="module")
def stream(rig: Rig) -> Stream:
    return Stream("wire://line", rig=rig, name="stream")


Call = Callable[[Stream, Any], object]
NUMBERS: list[tuple[str, Call]] = [
    ("keep", lambda _, value: Stream("memory://nobody", keep=value)),
    ("spill", lambda _, value: Stream("memory://nobody", spill=value)),
    ("keep", lambda _, value: Console("memory://nobody", keep=value)),
    ("spill", lambda _, value: Console("memory://nobody", spill=value)),
    ("until", lambda stream, value: stream.receive(value, within="1ms")),
    ("start", lambda stream, value: stream.search("x", value, None, 0)),
    ("deadline_ns", lambda stream, value: stream.search("x", 0, None, value)),
    ("start", lambda stream, value: stream.search_all(["x"], value, None, 0)),
    ("count", lambda stream, value: stream.take_exactly(value, 0, None, 0)),
    ("start", lambda stream, value: stream.read(value, 0)),
    ("end", lambda stream, value: stream.read(0, value)),
    ("end", lambda stream, value: stream.read_text(0, value)),
    ("start", lambda stream, value: stream.lines(None, value)),
    ("earliest_ns", lambda _, value: Stamp(value)),
    ("latest_ns", lambda _, value: Stamp(0, value)),
    ("earliest_ns", lambda _, value: Stamp(0).on_same_clock(value)),
    ("sequence", lambda _, value: protocol.Protocol(ACME).encode("status", {"address": 1}, sequence=value)),
]


@pytest.mark.parametrize("value", [-1, 2**70, -(2**70), 1.5, float("nan"), "5", b"5", True])
@pytest.mark.parametrize("number", range(len(NUMBERS)))
def test_a_number_out_of_range_is_told_with_its_name(stream: Stream, number: int, value: Any) -> None:
    name, call = NUMBERS[number]
    with pytest.raises(UsageError, match=rf"^USAGE: {name}={re.escape(repr(value))} is n"):
        call(stream, value)


@pytest.mark.parametrize("value", [2**70, -(2**70), 1.5, "5"])
def test_a_span_has_64_bits(value: Any) -> None:
    with pytest.raises(UsageError, match=r"earliest_ns=.* is no whole number of 64 bits"):
        Span(value)
    with pytest.raises(UsageError, match=r"latest_ns=.* is no whole number of 64 bits"):
        Span(0, value)


def test_a_wire_in_memory_refuses_numbers_out_of_range(rig: Rig) -> None:
    with pytest.raises(UsageError, match="seed=-1 is no whole number"):
        rig.add_wire("other", seed=-1)
    with pytest.raises(UsageError, match="count=-1 is no whole number"):
        rig.fault_wire("line", "drop", count=-1)
    with pytest.raises(UsageError, match="after=-1 is no whole number"):
        rig.fault_wire("line", "drop", after=-1)


@pytest.mark.parametrize("length", ["9999999999h", "3000000h", "18446744073709551615ns", "\ud800", "5 parsecs"])
def test_a_duration_that_no_span_holds_is_refused_wherever_it_is_said(stream: Stream, length: str) -> None:
    with pytest.raises(UsageError, match="is not a duration"):
        stream.receive(within=length)
    with pytest.raises(UsageError, match="limit=.*is not a duration"):
        timing.within(Stamp(20), length, after=Stamp(10))


def test_the_longest_duration_is_judged(stream: Stream) -> None:
    timing.within(Stamp(20), f"{2**63 - 1}ns", after=Stamp(10))


@pytest.mark.parametrize("stimulus", ["send", b"x", 7, [7], [None]])
def test_what_is_no_stimulus_is_refused_and_not_left_out(stimulus: Any) -> None:
    with pytest.raises(UsageError, match=r"stimulus=.* is neither|is no event"):
        timing.within(Stamp(20), "1s", after=Stamp(10), stimulus=stimulus)


def test_a_name_may_hold_anything(rig: Rig) -> None:
    with Stream("pty://", name="a\0b") as stream:
        assert stream.closed is None


@pytest.mark.parametrize("echo", ["", b"", [], 0, None, "soon"])
def test_what_is_no_time_for_an_echo_is_refused(rig: Rig, echo: Any) -> None:
    rig.add_wire(f"echo {echo}")
    with Console(f"wire://echo {echo}", rig=rig) as console, pytest.raises(UsageError, match="echo=|is not a duration"):
        console.send("x", echo=echo)


def test_a_point_that_nothing_uses_is_refused_with_the_near_name(rig: Rig) -> None:
    def device(name: str, **points: float) -> protocol.Device:
        known: dict[str, float] = {"voltage": 1, "highest": 0, "own_address": 1, **points}
        return protocol.Device(f"memory-listen://{name}", protocol.Protocol(ACME), points=known, rig=rig)

    device("sound").close()
    with pytest.raises(UsageError, match=r"no message and no rule of acme has a use for the point `voltaje`") as told:
        device("voltaje", voltaje=2)
    assert told.value.hint == "did you mean `voltage`?"
    with pytest.raises(UsageError, match=r"the point `colour`"):
        device("colour", colour=2)
    # A function may have a use for any.
    points: dict[str, float] = {"voltage": 1, "colour": 2}
    url = "memory-listen://handled"
    with protocol.Device(url, protocol.Protocol(ACME), points=points, handler=lambda _: None, rig=rig) as handled:
        assert handled.get("colour") == 2


def test_an_answer_that_is_no_message_accuses_nobody(rig: Rig) -> None:
    acme, points = protocol.Protocol(ACME), {"voltage": 1, "highest": 0, "own_address": 1}
    with protocol.Device("memory-listen://answers", acme, points=points, rig=rig):
        client = protocol.Client("memory://answers", acme, rig=rig)
        client.ask("status", address=1)
        with pytest.raises(UsageError, match=r"no message `repport` that could answer\n  hint: did you mean `report`"):
            client.ask("status", address=1, answer="repport")
        with pytest.raises(UsageError, match="nothing answers `status`"):
            client.ask("status", address=1, answer=[])
        with pytest.raises(UsageError, match="the patch `plain` is True or False"):
            client.ask("status", address=1, patch={"plain": "yes"})
