"""What is heard on a shared wire: expectations, witnesses, and who is reached by a stimulus; on made-up frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from fieldrig import Rig
from fieldrig._core import Span, Stamp
from fieldrig.errors import ExpectationFailed, InconclusiveError, ObserverBlind, UnexpectedEvent, UsageError
from fieldrig.expect import HasInstant, Timeline
from fieldrig.frames import Ears, WireObserver
from fieldrig.link import MeetingLink, QuietLink, WireLink

MS = 1_000_000


def at(milliseconds: float) -> Stamp:
    return Stamp(int(milliseconds * MS))


@dataclass
class Seen:
    at: Stamp
    kind: str
    number: int = 0
    request: int | None = None
    unit: int | None = 1
    function: int | None = 3
    address: int | None = None
    quantity: int | None = None
    sure: bool = True

    def describe(self) -> str:
        return f"{self.kind} unit {self.unit}"

    def until(self, later: HasInstant) -> Span:
        return self.at.until(later.at)


def ask(when: float, unit: int, number: int = 0, address: int = 0, count: int = 1, function: int = 3) -> Seen:
    return Seen(at(when), "request", number, None, unit, function, address, count)


def reply(when: float, unit: int, request: int) -> Seen:
    return Seen(at(when), "response", 0, request, unit)


class Monitor:
    """A monitor whose frames are known beforehand; time is that of the last wait."""

    def __init__(self, *frames: Seen, dead: str | None = None, lost: str | None = None) -> None:
        self.frames = list(frames)
        self.dead = dead
        self.lost = lost
        self.time_ns = 100 * MS
        self.looks = 0
        self.closed = False

    def now(self) -> Stamp:
        return Stamp(self.time_ns)

    def wait(self, index: int, deadline_ns: int, /) -> Sequence[Seen]:
        self.time_ns = max(self.time_ns, deadline_ns)
        return [frame for frame in self.frames if frame.at.latest_ns <= self.time_ns][index:]

    resolution_ns = 0

    def alive(self) -> str | None:
        return self.dead

    def missed(self) -> str | None:
        return self.lost

    def look(self) -> None:
        self.looks += 1

    def close(self) -> None:
        self.closed = True


UNITS = {"meter1": 1, "meter2": 2}


@pytest.fixture
def rig():
    with Rig() as rig:
        yield rig


def observer(monitor: Monitor, others: frozenset[str] | None = None) -> WireObserver:
    timeline = Timeline(monitor.now)
    timeline.restart()

    def unit(given: object, argument: str) -> tuple[int, str]:
        return UNITS[str(given)], f"{given} (unit {UNITS[str(given)]})"

    return WireObserver("bus485", Ears(monitor, monitor.now, others), timeline, unit)


FAR = frozenset({"request"})


def test_a_request_to_a_device_is_found_and_consumed() -> None:
    first, second = ask(120, 2, number=1), ask(140, 2, number=2)
    bus = observer(Monitor(ask(110, 1), first, second))
    assert bus.expect(request_to="meter2", within="1s") is first
    assert bus.expect(request_to="meter2", within="1s") is second
    with pytest.raises(ExpectationFailed, match=r"bus485: a request to meter2 \(unit 2\) did not arrive"):
        bus.expect(request_to="meter2", within="1s")


def test_a_response_is_no_request_and_is_judged_by_the_address_of_its_request() -> None:
    answered = reply(130, 1, request=7)
    bus = observer(Monitor(ask(120, 1, number=7, address=10, count=4), answered))
    with pytest.raises(ExpectationFailed, match="a response from meter1"):
        bus.expect(response_from="meter1", address=14, within="1s")
    assert bus.expect(response_from="meter1", address=13, function="read_holding", within="1s") is answered
    with pytest.raises(ExpectationFailed, match="function 4"):
        bus.expect(request_to="meter1", function="read_input", within="1s")


def test_noise_and_unanswered_requests_are_no_frames_of_a_device() -> None:
    bus = observer(Monitor(Seen(at(120), "noise", unit=None, function=None), Seen(at(130), "unanswered", request=0)))
    with pytest.raises(ExpectationFailed, match="a frame of any device"):
        bus.expect(within="1s")


def test_a_frame_that_may_be_request_or_response_decides_nothing() -> None:
    doubtful = Seen(at(120), "request", number=3, unit=1, sure=False)
    with pytest.raises(InconclusiveError, match="may be a request or the response to one"):
        observer(Monitor(doubtful)).expect(request_to="meter1", within="1s")
    with pytest.raises(InconclusiveError, match="may be a request or the response to one"):
        observer(Monitor(doubtful)).expect(response_from="meter1", within="1s")
    with pytest.raises(InconclusiveError, match="may be a request to meter1"):
        observer(Monitor(doubtful)).expect_none(request_to="meter1", for_="1s")
    assert observer(Monitor(doubtful)).expect(within="1s") is doubtful


def test_what_came_before_the_test_is_not_looked_at() -> None:
    monitor = Monitor(ask(50, 1), ask(60, 1))
    bus = observer(monitor)
    bus.restart()
    monitor.frames.append(later := ask(150, 1))
    assert bus.expect(request_to="meter1", within="1s") is later
    assert [exchange.request for exchange in bus.exchanges(at(55))] == [monitor.frames[1], later]


def test_an_exchange_is_a_request_and_its_response() -> None:
    asked, answered, alone = ask(120, 1, number=1), reply(128, 1, request=1), ask(140, 2, number=2)
    monitor = Monitor(asked, answered, alone)
    monitor.time_ns = 200 * MS
    whole, half = observer(monitor).exchanges(at(100))
    assert (whole.request, whole.response, half.request, half.response) == (asked, answered, alone, None)
    assert whole.latency is not None and whole.latency.latest_ns == 8 * MS and half.latency is None
    assert whole.until(half).latest_ns == 20 * MS
    assert "no response" in half.describe()


def test_silence_on_a_wire_in_memory_is_believed_while_somebody_listens() -> None:
    observer(Monitor()).expect_none(request_to="meter1", for_="1s")
    with pytest.raises(UnexpectedEvent, match=r"^DUT: .*none was to come"):
        observer(Monitor(ask(500, 1))).expect_none(request_to="meter1", for_="1s")
    with pytest.raises(ObserverBlind, match="the port is gone"):
        observer(Monitor(dead="the port is gone")).expect_none(request_to="meter1", for_="1s")
    with pytest.raises(ObserverBlind, match="3 frames were lost"):
        observer(Monitor(lost="3 frames were lost")).expect_none(request_to="meter1", for_="1s")


def test_silence_on_a_real_wire_needs_a_later_frame_of_the_other_side() -> None:
    with pytest.raises(ObserverBlind, match="nothing was heard on this wire after it"):
        observer(Monitor(ask(500, 2)), FAR).expect_none(request_to="meter1", for_="1s")
    with pytest.raises(ObserverBlind, match="nothing was heard"):
        observer(Monitor(ask(500, 2), reply(1500, 2, 0)), FAR).expect_none(request_to="meter1", for_="1s")
    observer(Monitor(ask(500, 2), ask(1500, 2)), FAR).expect_none(request_to="meter1", for_="1s")


def test_a_missing_frame_is_a_fail_only_on_a_wire_that_is_known_to_work() -> None:
    with pytest.raises(InconclusiveError, match="nothing was ever heard from the other side of this wire"):
        observer(Monitor(), FAR).expect(request_to="meter1", within="1s")
    with pytest.raises(InconclusiveError, match="nothing was ever heard"):
        observer(Monitor(Seen(at(120), "noise")), FAR).expect(request_to="meter1", within="1s")
    with pytest.raises(ExpectationFailed):
        observer(Monitor(ask(120, 2)), FAR).expect(request_to="meter1", within="1s")
    with pytest.raises(ExpectationFailed):
        observer(Monitor()).expect(request_to="meter1", within="1s")


@pytest.mark.parametrize("function", ["read", 0, 128, True])
def test_an_unknown_function_is_a_usage_error(function: object) -> None:
    with pytest.raises(UsageError, match=r"function= is a code from 1 to 127 or one of read_coils, "):
        observer(Monitor()).expect(function=function, within="1s")  # type: ignore[arg-type]


def test_request_to_and_response_from_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="not both"):
        observer(Monitor()).expect(request_to="meter1", response_from="meter2", within="1s")


class Hand:
    """What was done to a link."""

    monitor_url = None
    disturbed = False

    def __init__(self) -> None:
        self.done: list[object] = []

    def gate(self, state: str, /) -> None:
        self.done.append(state)

    def fault(self, name: str, **settings: object) -> None:
        self.done.append((name, {key: value for key, value in settings.items() if value is not None}))

    def clear_faults(self) -> None:
        self.done.append("clear")

    def look(self) -> None:
        """There is no real port."""


def wire(rig: Rig, monitor: Monitor, hand: Hand | None = None) -> WireLink:
    return WireLink("bus485", rig, Timeline(rig.now), (*UNITS, "gateway"), UNITS, hand or Hand(), monitor, None)


def test_a_link_knows_its_devices_by_name_object_and_unit(rig: Rig) -> None:
    link = wire(rig, Monitor(Seen(rig.now(), "request", unit=2)))
    assert link.devices == ("meter1", "meter2", "gateway")
    for given in ("gateway", "thermometer"):
        with pytest.raises(UsageError, match=f"request_to='{given}' is not on this link; it has: meter1, meter2"):
            link.expect(request_to=given, within="1ms")
    with pytest.raises(UsageError, match="a unit id from 0 to 255, not 256"):
        link.expect(request_to=256, within="1ms")
    with pytest.raises(ExpectationFailed, match=r"a request to meter2 \(unit 2\)"):
        link.expect(request_to=2, after=rig.now(), within="1ms")
    link.close()


def test_down_and_faults_are_stimuli_for_the_devices_on_the_link_and_end_with_the_test(rig: Rig) -> None:
    hand, gateway, stranger = Hand(), Timeline(rig.now), Timeline(rig.now)
    link = MeetingLink("uplink", rig, Timeline(rig.now), ("gateway",), {}, hand)
    link.timeline.reach(gateway)
    outage = link.down(how="stalled")
    assert gateway.last_stimulus.earliest_ns == outage.at.earliest_ns
    assert stranger.last_stimulus.latest_ns == 0
    assert outage.until(link.up()).earliest_ns >= 0
    link.fault("drop", p=0.5, count=3)
    link.down()
    link.restart()
    link.restart()
    assert hand.done == ["stalled", "open", ("drop", {"p": 0.5, "count": 3}), "refused", "open", "clear"]
    with pytest.raises(UsageError, match='how= is "refused" or "stalled", not \'away\''):
        link.down(how="away")  # type: ignore[arg-type]


class Outside(Hand):
    """A link of which both ends are outside, and through which no bytes pass."""

    def gate(self, state: str, /) -> None:
        raise UsageError("the bench has no hand on this link")

    def fault(self, name: str, **settings: object) -> None:
        raise UsageError("the bytes of this link do not pass through a bridge", hint="role")


class End:
    """What a test has open on a link."""

    why: str | None = None

    def doubt(self, reason: str | None, /) -> None:
        self.why = reason


def test_while_the_test_disturbs_a_link_silence_on_it_accuses_nobody(rig: Rig) -> None:
    end = End()
    native = SimpleNamespace(allow=(), writable=())
    device = SimpleNamespace(
        profile="emulated",
        _native=native,
        is_connected=lambda link: False,
        end=lambda link: end if link == "bus485" else None,
    )
    link = wire(rig, Monitor(), Hand())
    link.add(device)  # type: ignore[arg-type]
    link.down()
    assert end.why == "the link bus485 does not work now: the test has taken it down"
    with pytest.raises(InconclusiveError, match="the test has taken it down"):
        link.expect(request_to="meter1", after=rig.now(), within="1ms")
    link.up()
    assert end.why is None
    with pytest.raises(ExpectationFailed):
        link.expect(request_to="meter1", after=rig.now(), within="1ms")
    link.fault("corrupt")
    assert end.why == "the link bus485 does not work now: the test disturbs it"
    link.restart()
    assert end.why is None


def test_a_real_device_is_silenced_only_if_its_bench_file_allows(rig: Rig) -> None:
    allow: list[str] = ["restart"]
    native = SimpleNamespace(allow=allow, writable=())
    hand = Hand()
    link = MeetingLink("uplink", rig, Timeline(rig.now), (), {}, hand)
    link.add(SimpleNamespace(name="meter", profile="real", _native=native, end=lambda name: None))  # type: ignore[arg-type]
    for silence in (link.down, lambda: link.fault("drop")):
        with pytest.raises(UsageError, match=r'^USAGE: meter: .* silence it\n  hint: put "silence" into allow'):
            silence()
    assert not hand.done
    allow.append("silence")
    link.down()
    assert hand.done


def test_an_exchange_says_whether_its_answer_may_still_come() -> None:
    open_, answered, silent = ask(130, 1, number=1), ask(110, 1, number=2), ask(120, 2, number=3)
    monitor = Monitor(answered, reply(112, 1, 2), silent, Seen(at(129), "unanswered", request=3), open_)
    monitor.time_ns = 200 * MS
    heard = observer(monitor).exchanges(at(100))
    assert [(exchange.request, exchange.pending) for exchange in heard] == [
        (answered, False),
        (silent, False),
        (open_, True),
    ]
    assert heard[2].describe().endswith("no response yet") and heard[1].describe().endswith("no response")


def test_a_link_out_of_reach_says_so(rig: Rig) -> None:
    outside = MeetingLink("uplink", rig, Timeline(rig.now), (), {}, Outside())
    with pytest.raises(UsageError, match=r"^USAGE: uplink: the bench has no hand on this link"):
        outside.down()
    with pytest.raises(UsageError, match=r"^USAGE: uplink: the bytes of this link do not pass .*\n  hint: "):
        outside.fault("drop")
    quiet = QuietLink("modbus", rig, Timeline(rig.now), ("meter",), {"meter": 1}, Hand())
    with pytest.raises(UsageError, match=r"modbus\.expect\(\): nobody listens on this link"):
        quiet.expect(request_to="meter", within="1s")
    with pytest.raises(UsageError, match=r"modbus\.expect_none\(\)"):
        quiet.expect_none(request_to="meter", for_="1s")


def test_what_is_done_to_a_peer_reaches_the_devices_and_looks_at_their_ports(rig: Rig) -> None:
    monitor = Monitor()
    peer, gateway = Timeline(rig.now), Timeline(rig.now)
    link = wire(rig, monitor)
    link.show_to(gateway)
    peer.reach(gateway)
    peer.reach(peer)
    assert peer.approach() is not None and monitor.looks == 1
    peer.stimulus(moment := rig.now())
    assert gateway.last_stimulus.earliest_ns == peer.last_stimulus.earliest_ns == moment.earliest_ns


def test_what_two_devices_hear_on_one_wire_is_shown_once(rig: Rig) -> None:
    link = wire(rig, Monitor(Seen(Stamp(1), "request"), Seen(Stamp(2), "response")))
    gateway = Timeline(rig.now)
    link.show_to(gateway)
    link.timeline.observe(gateway.arrivals)
    assert [seen.describe() for _, seen in link.timeline.arrivals(Stamp(0))] == ["request unit 1", "response unit 1"]
