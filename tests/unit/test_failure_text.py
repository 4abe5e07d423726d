"""What people read when an expectation fails, as it was reviewed: `tests/snapshots/failures`.

After a change that is meant: ``FIELDRIG_SNAPSHOTS=write pytest tests/unit/test_failure_text.py``, then read the diff.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from fieldrig import Stamp
from fieldrig._core import Span
from fieldrig._core.device import Change
from fieldrig.errors import FieldrigError
from fieldrig.expect import MessagePattern, Timeline
from fieldrig.failing import LINES, WIDTH
from fieldrig.frames import Ears, WireObserver
from fieldrig.inbox import MessageInbox
from fieldrig.power import Action

SNAPSHOTS = Path(__file__).parents[1] / "snapshots" / "failures"
MS = 1_000_000
BEGIN_MS = 1000


def at(milliseconds: float, width_ms: float = 0) -> Stamp:
    return Stamp(int((BEGIN_MS + milliseconds) * MS), int((BEGIN_MS + milliseconds + width_ms) * MS))


@dataclass
class Message:
    at: Stamp
    topic: str
    payload: bytes
    retained: bool = False

    def describe(self) -> str:
        return f"{self.topic} {self.payload.decode()} (QoS 1{', retained' if self.retained else ''})"


@dataclass
class Line:
    at: Stamp
    text: str

    def describe(self) -> str:
        return self.text


@dataclass
class Seen:
    at: Stamp
    kind: str
    unit: int
    number: int = 0
    request: int | None = None
    function: int | None = 4
    address: int | None = 0
    quantity: int | None = 1
    sure: bool = True

    def describe(self) -> str:
        return f"{self.kind} {'to' if self.kind == 'request' else 'of'} unit {self.unit}: 04 Read Input Registers"


class Source:
    """Where pieces come from that are known beforehand."""

    def __init__(self, *pieces: Message, broken: str | None = None, lost: str | None = None) -> None:
        self.pieces = pieces
        self.broken = broken
        self.lost = lost

    def wait(self, index: int, deadline_ns: int) -> Sequence[Message]:
        return self.pieces[index:]

    resolution_ns = 0

    def alive(self, since: Stamp) -> str | None:
        return self.broken

    def missed(self, since: Stamp) -> str | None:
        return self.lost


class Monitor:
    """A monitor that has heard this."""

    def __init__(self, *frames: Seen) -> None:
        self.frames = frames

    def wait(self, index: int, deadline_ns: int, /) -> Sequence[Seen]:
        return self.frames[index:]

    resolution_ns = 0

    def alive(self) -> str | None:
        return None

    missed = alive

    def look(self) -> None: ...
    def close(self) -> None: ...


TOPIC = "site/a/meter1/voltage"
ALARM = MessagePattern("site/a/alarm", {"code": "OVERTEMP"}, None)
CONSOLE = [("meter.console", Line(at(4 + 7 * place), f"poll {place}")) for place in range(3)]


def value(when: float, number: float, **more: bool) -> Message:
    return Message(at(when), TOPIC, f'{{"v":{number}}}'.encode(), **more)


def timeline(*links: tuple[str, Message | Line], stalls: Sequence[Span] = ()) -> Timeline:
    made = Timeline(lambda: at(0), lambda since: stalls)
    made.stimulus(at(-35))
    made.observe(lambda since: [(name, seen) for name, seen in links if seen.at.order(since) != "before"])
    made.trace = "fieldrig-runs/20260101-120000-17/trace.pcapng"
    return made


def inbox(
    *messages: Message, others: Sequence[tuple[str, Message | Line]] = (), **source: str
) -> MessageInbox[Message]:
    name = "gateway.uplink site/a/#"
    line = timeline(*((name, message) for message in messages), *others)
    return MessageInbox(Source(*messages, **source), line, name)


def nothing() -> None:
    inbox().expect(ALARM, None, "2s")


def something_else() -> None:
    inbox(value(12, 230.1), others=CONSOLE).expect(ALARM, Change("setpoint", 85.0, at(0)), "2s")


def stale() -> None:
    inbox(value(-80, 231.7)).expect(MessagePattern(TOPIC, {"v": 231.7}, None), None, "500ms")


def too_late() -> None:
    inbox(value(2500, 231.7)).expect(MessagePattern(TOPIC, None, None), Action("power cycle", at(0), at(1)), "2s")


def retained() -> None:
    inbox(value(3, 231.7, retained=True)).expect(MessagePattern(TOPIC, None, None), None, "2s")


def flood() -> None:
    same = [value(place, 230.0) for place in range(400)]
    changing = [value(400 + place, 231 + place / 10) for place in range(60)]
    inbox(*same, *changing, value(470, 9.0), others=CONSOLE).expect(ALARM, at(-1), "2s")


def at_the_cursor() -> None:
    message = Message(at(-40, 10), TOPIC, b"{}")
    inbox(message).expect(MessagePattern(TOPIC, None, None), None, "2s")


def broker_dropped() -> None:
    inbox(lost="the broker has dropped messages for this client (its queue was full): 12 so far").expect(
        ALARM, None, "2s"
    )


def host_stood_still() -> None:
    line = timeline(stalls=[Span(300 * MS)])
    MessageInbox(Source(), line, "gateway.uplink site/a/#").expect(ALARM, None, "2s")


def unwanted() -> None:
    message = Message(at(700), "site/a/alarm", b'{"code":"OVERTEMP"}')
    inbox(value(12, 230.1), message).expect_none(ALARM, Change("setpoint", 20.0, at(0)), "1s")


def no_witness() -> None:
    inbox(broken="a marker message did not come back").expect_none(ALARM, None, "1s")


FRAMES = (
    Seen(at(2), "request", 1, number=0),
    Seen(at(11), "response", 1, request=0),
    Seen(at(1002), "request", 1, number=2),
    Seen(at(1011), "response", 1, request=2),
)


def bus(*frames: Seen, others: frozenset[str] | None = None) -> WireObserver:
    ears, line = Ears(Monitor(*frames), lambda: at(0), others), timeline()
    made = WireObserver("bus485", ears, line, lambda given, argument: (2, f"{given} (unit 2)"))
    line.observe(made.arrivals)
    return made


def not_polled() -> None:
    bus(*FRAMES).expect(
        request_to="meter2", function="read_input", after=Action("fault no_answer", at(0), at(1)), within="2s"
    )


def wire_never_worked() -> None:
    bus(others=frozenset({"request"})).expect(request_to="meter2", within="2s")


def starved() -> None:
    bus(*FRAMES).expect_none(request_to="meter2", for_="3s")
    bus(*FRAMES, Seen(at(1500), "request", 2, number=4)).expect_none(request_to="meter2", for_="3s")


CASES: list[Callable[[], None]] = [
    *(nothing, something_else, stale, too_late, retained, flood, at_the_cursor, broker_dropped, host_stood_still),
    *(unwanted, no_witness, not_polled, wire_never_worked, starved),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_failure_text_reads_as_it_was_reviewed(case: Callable[[], None]) -> None:
    with pytest.raises(FieldrigError) as failed:
        case()
    text = str(failed.value) + "\n"
    lines = text.splitlines()
    assert text.split(" ", 1)[0] in ("DUT:", "INCONCLUSIVE:")
    # The plug-in adds the place of the test.
    assert len(lines) <= LINES - 1 and max(map(len, lines[1:])) <= WIDTH
    file = SNAPSHOTS / f"{case.__name__}.txt"
    if os.environ.get("FIELDRIG_SNAPSHOTS") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_every_snapshot_has_its_case() -> None:
    assert {file.stem for file in SNAPSHOTS.iterdir()} == {case.__name__ for case in CASES}
