"""What counts as a match, as silence and as a fail, on made-up arrivals: no port, no waiting."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pytest

from fieldrig._core import Span, Stamp
from fieldrig._core.stream import Received
from fieldrig.errors import ExpectationFailed, InconclusiveError, ObserverBlind, UnexpectedEvent, UsageError
from fieldrig.expect import MessagePattern, Timeline, json_matches, near, topic_matches
from fieldrig.inbox import MessageInbox
from fieldrig.stream_inbox import StreamInbox

MS = 1_000_000


def at(start_ms: float, end_ms: float | None = None) -> Stamp:
    return Stamp(int(start_ms * MS), int((start_ms if end_ms is None else end_ms) * MS))


@dataclass
class Message:
    at: Stamp
    topic: str = "a/b"
    payload: bytes = b"{}"
    retained: bool = False

    def describe(self) -> str:
        return f"{self.topic} {self.payload!r}"


class Messages:
    """A message source whose arrivals are known beforehand."""

    def __init__(self, *messages: Message, witness: str | None = None, lost: str | None = None) -> None:
        self.messages = list(messages)
        self.witness = witness
        self.lost = lost

    def wait(self, index: int, deadline_ns: int) -> Sequence[Message]:
        return self.messages[index:]

    resolution_ns = 0

    def alive(self, since: Stamp) -> str | None:
        return self.witness

    def missed(self, since: Stamp) -> str | None:
        return self.lost


def timeline(stalls: Iterable[Span] = (), now_ms: float = 100) -> Timeline:
    made = Timeline(lambda: at(now_ms), lambda since: stalls)
    made.restart()
    return made


def inbox(*messages: Message, witness: str | None = None, stalls: Iterable[Span] = ()) -> MessageInbox[Message]:
    return MessageInbox(Messages(*messages, witness=witness), timeline(stalls), "meter.mqtt")


ANY = MessagePattern(None, None, None)


def test_a_message_behind_the_cursor_and_in_the_window_matches() -> None:
    fresh = Message(at(120))
    assert inbox(fresh).expect(ANY, None, "1s", False) is fresh


def test_a_stale_message_fails_and_is_named_as_the_nearest() -> None:
    with pytest.raises(ExpectationFailed, match=r"(?s)^DUT: .*nearest: a/b .*stale"):
        inbox(Message(at(50))).expect(ANY, None, "1s", False)


def test_a_message_before_the_stimulus_on_another_link_is_stale() -> None:
    stimulus = at(130)
    with pytest.raises(ExpectationFailed, match="stale"):
        inbox(Message(at(120))).expect(ANY, stimulus, "1s", False)


def test_an_arrival_that_overlaps_the_cursor_is_inconclusive() -> None:
    with pytest.raises(InconclusiveError, match=r"^INCONCLUSIVE: .*before or after the cursor"):
        inbox(Message(at(90, 110))).expect(ANY, None, "1s", False)


def test_a_sure_match_outweighs_an_unsure_one() -> None:
    sure = Message(at(150))
    assert inbox(Message(at(90, 110)), sure).expect(ANY, None, "1s", False) is sure


def test_a_retained_message_matches_only_if_asked() -> None:
    retained = Message(at(120), retained=True)
    with pytest.raises(ExpectationFailed, match="retained"):
        inbox(retained).expect(ANY, None, "1s", False)
    assert inbox(retained).expect(ANY, None, "1s", True) is retained


def test_too_late_is_a_fail_and_at_the_edge_inconclusive() -> None:
    with pytest.raises(ExpectationFailed, match="too late"):
        inbox(Message(at(1200))).expect(ANY, None, "1s", False)
    with pytest.raises(InconclusiveError, match="end of the window"):
        inbox(Message(at(1090, 1110))).expect(ANY, None, "1s", False)


def test_a_stalled_host_does_not_accuse_the_device() -> None:
    with pytest.raises(InconclusiveError, match="the host stood still for 300 ms"):
        inbox(stalls=[Span(300 * MS)]).expect(ANY, None, "1s", False)


def test_a_message_that_is_later_than_the_stall_explains_fails() -> None:
    stalls = [Span(300 * MS)]
    with pytest.raises(InconclusiveError, match="the host stood still for 300 ms"):
        inbox(Message(at(1350)), stalls=stalls).expect(ANY, None, "1s", False)
    with pytest.raises(ExpectationFailed, match="too late"):
        inbox(Message(at(1450)), stalls=stalls).expect(ANY, None, "1s", False)


def test_what_comes_in_the_time_the_host_owes_leaves_silence_undecided() -> None:
    stalls = [Span(300 * MS)]
    with pytest.raises(InconclusiveError, match="was not to come in the window"):
        inbox(Message(at(1350)), stalls=stalls).expect_none(ANY, None, "1s")
    inbox(Message(at(1450)), stalls=stalls).expect_none(ANY, None, "1s")


def test_a_silence_without_after_begins_behind_the_last_match() -> None:
    earlier, match, same = Message(at(120)), Message(at(150), payload=b"2"), Message(at(150))
    watched = inbox(earlier, match)
    assert watched.expect(MessagePattern(None, None, "2"), None, "1s", False) is match
    watched.expect_none(ANY, None, "1s")
    with pytest.raises(UnexpectedEvent):
        watched.expect_none(ANY, at(110), "1s")
    # The order in one inbox is known, also where the stamps are the same.
    watched = inbox(earlier, match, same)
    watched.expect(MessagePattern(None, None, "2"), None, "1s", False)
    with pytest.raises(UnexpectedEvent):
        watched.expect_none(ANY, None, "1s")


def test_an_inbox_that_lost_something_accuses_nobody() -> None:
    lost = "9 messages fell out"
    with pytest.raises(InconclusiveError, match=lost):
        MessageInbox(Messages(lost=lost), timeline(), "meter.mqtt").expect(ANY, None, "1s", False)
    with pytest.raises(InconclusiveError, match="overrun"):
        StreamInbox(Text((at(120), "x"), lost="overrun"), timeline(), "meter.console").expect("y", None, "1s")


class Flood(Messages):
    """There is always one more message."""

    def wait(self, index: int, deadline_ns: int) -> Sequence[Message]:
        return [Message(at(100 + index), "noise")]


def test_a_flood_of_other_messages_does_not_keep_a_window_open() -> None:
    with pytest.raises(ExpectationFailed):
        MessageInbox(Flood(), timeline(), "meter.mqtt").expect(MessagePattern("a", None, None), None, "1s", False)


def test_a_match_consumes_one_message_even_with_equal_stamps() -> None:
    one, two = Message(at(120), payload=b"1"), Message(at(120), payload=b"2")
    box = inbox(one, two)
    assert box.expect(ANY, None, "1s", False) is one
    assert box.expect(ANY, None, "1s", False) is two
    with pytest.raises(ExpectationFailed):
        box.expect(ANY, None, "1s", False)


def test_a_consumed_match_leaves_other_messages_in_place() -> None:
    first, second = Message(at(120), "x"), Message(at(121), "y")
    box = inbox(first, second)
    assert box.expect(MessagePattern("y", None, None), None, "1s", False) is second
    assert box.expect(MessagePattern("x", None, None), None, "1s", False) is first


def test_silence_without_a_witness_is_inconclusive() -> None:
    inbox().expect_none(ANY, None, "1s")
    with pytest.raises(ObserverBlind, match=r"^INCONCLUSIVE: .*no witness for the silence: the marker did not return"):
        inbox(witness="the marker did not return").expect_none(ANY, None, "1s")


def test_an_unwanted_message_fails_and_one_outside_the_window_does_not() -> None:
    with pytest.raises(UnexpectedEvent, match=r"^DUT: "):
        inbox(Message(at(500))).expect_none(ANY, None, "1s")
    inbox(Message(at(50)), Message(at(1200))).expect_none(ANY, None, "1s")
    with pytest.raises(InconclusiveError, match="was not to come in the window"):
        inbox(Message(at(1090, 1110))).expect_none(ANY, None, "1s")


@pytest.mark.parametrize("window", [5, 0.5, "5", "soon", "-1s", None])
def test_a_window_needs_a_unit(window: object) -> None:
    with pytest.raises(UsageError, match=r"^USAGE: "):
        inbox().expect(ANY, None, window, False)  # type: ignore[arg-type]


@dataclass
class Found:
    at: Stamp
    start: int
    end: int
    text: str

    def describe(self) -> str:
        return repr(self.text)


class Text:
    """A stream whose bytes and stamps are known beforehand: pairs of stamp and text."""

    start = resolution_ns = 0

    def __init__(self, *parts: tuple[Stamp, str], broken: str | None = None, lost: str | None = None) -> None:
        self.lost = lost
        self.text = "".join(text for _, text in parts)
        self.stamps = [stamp for stamp, text in parts for _ in text]
        self.broken = broken

    def search(
        self, pattern: str | Sequence[str], start: int, after: Stamp | None, deadline_ns: int, /
    ) -> Found | None:
        begin = start if after is None else max(start, self.offset_after(after)[1])
        patterns = [pattern] if isinstance(pattern, str) else pattern
        matches = [match for text in patterns if (match := re.compile(text).search(self.text, begin))]
        match = min(matches, key=lambda match: match.end(), default=None)
        return match and Found(self.stamps[match.end() - 1], match.start(), match.end(), match.group())

    def search_all(
        self, patterns: Sequence[str], start: int, after: Stamp | None, deadline_ns: int, /
    ) -> list[Found | None]:
        return [self.search(pattern, start, after, deadline_ns) for pattern in patterns]

    def take_exactly(self, count: int, start: int, after: Stamp | None, deadline_ns: int, /) -> Found | None:
        return self.search(f"(?s).{{{count}}}", start, after, deadline_ns)

    def read(self, start: int, end: int, /) -> Received:
        raise NotImplementedError

    def read_text(self, start: int, end: int, /) -> str:
        return self.text[start:end]

    def offset_after(self, at: Stamp, /) -> tuple[int, int]:
        perhaps = next((i for i, stamp in enumerate(self.stamps) if stamp.latest_ns >= at.earliest_ns), len(self.text))
        surely = next((i for i, stamp in enumerate(self.stamps) if stamp.order(at) == "after"), len(self.text))
        return perhaps, surely

    def alive(self, since: Stamp, /) -> str | None:
        return self.broken or self.lost

    def missed(self, since: Stamp, /) -> str | None:
        return self.lost


def console(*parts: tuple[Stamp, str], broken: str | None = None) -> StreamInbox[Found]:
    return StreamInbox(Text(*parts, broken=broken), timeline(), "meter.console")


def test_a_stale_line_does_not_match() -> None:
    with pytest.raises(ExpectationFailed, match=r"(?s)/boot ok/ did not come.*nearest: 'boot ok'.*stale"):
        console((at(50), "boot ok\n")).expect("boot ok", None, "1s")


def test_a_match_that_begins_before_the_cursor_is_stale_too() -> None:
    with pytest.raises(ExpectationFailed):
        console((at(50), "boot o"), (at(150), "k\n")).expect("boot ok", None, "1s")


def test_a_match_on_bytes_that_overlap_the_cursor_is_inconclusive() -> None:
    with pytest.raises(InconclusiveError, match="before or after the cursor"):
        console((at(90, 110), "boot ok\n")).expect("boot ok", None, "1s")


def test_a_match_consumes_everything_up_to_it() -> None:
    box = console((at(120), "one two three\n"))
    assert box.expect("two", None, "1s").start == 4
    with pytest.raises(ExpectationFailed):
        box.expect("one", None, "1s")
    assert box.expect("three", None, "1s").end == 13


def test_all_patterns_in_any_order() -> None:
    box = console((at(120), "b a c"))
    assert [match.text for match in box.expect_all(["a", "b"], None, "1s")] == ["a", "b"]
    with pytest.raises(ExpectationFailed):
        box.expect("b", None, "1s")


def test_the_same_pattern_twice_needs_two_matches() -> None:
    assert [match.start for match in console((at(120), "ok ok")).expect_all(["ok", "ok"], None, "1s")] == [0, 3]
    with pytest.raises(ExpectationFailed):
        console((at(120), "ok")).expect_all(["ok", "ok"], None, "1s")


def test_a_silent_console_needs_a_living_port() -> None:
    console((at(120), "fine\n")).expect_none("panic", None, "1s")
    with pytest.raises(UnexpectedEvent):
        console((at(120), "panic\n")).expect_none("panic", None, "1s")
    with pytest.raises(ObserverBlind, match="hung up"):
        console((at(120), "fine\n"), broken="the port hung up").expect_none("panic", None, "1s")


def test_what_is_no_pattern_is_a_usage_error() -> None:
    for wrong in (7, b"bytes", ["fine", 7], []):
        with pytest.raises(UsageError, match="pattern"):
            console().expect(wrong, None, "1s")  # type: ignore[arg-type]


def test_of_several_patterns_a_failure_names_all_and_what_came_before() -> None:
    with pytest.raises(ExpectationFailed, match=r"(?s)any of /ready/, /panic/ did not come.*nearest: 'panic'.*stale"):
        console((at(50), "panic\n")).expect(["ready", "panic"], None, "1s")
    assert console((at(120), "a panic, not ready\n")).expect(["ready", "panic"], None, "1s").text == "panic"
    with pytest.raises(UnexpectedEvent, match=r"any of /ready/, /panic/ came"):
        console((at(120), "panic\n")).expect_none(["ready", "panic"], None, "1s")


@pytest.mark.parametrize(
    ("pattern", "topic", "fits"),
    [
        ("a/+/c", "a/b/c", True),
        ("a/+", "a", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("a/+", "a/", True),
        ("a", "a/b", False),
    ],
)
def test_topic_filters_follow_the_standard(pattern: str, topic: str, fits: bool) -> None:
    assert topic_matches(pattern.split("/"), topic) is fits


def test_json_content_may_have_more_keys_but_no_other_values() -> None:
    assert json_matches({"code": "X"}, {"code": "X", "t": 1})
    assert not json_matches({"code": "X"}, {"code": "Y"})
    assert json_matches({"v": near(231.7, 0.05)}, {"v": 231.72})
    assert not json_matches({"v": near(231.7, 0.05)}, {"v": True})
    assert not json_matches({"on": True}, {"on": 1})
    assert not json_matches([1], [1, 2])
    with pytest.raises(UsageError):
        near(1, -1)
