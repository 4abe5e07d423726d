"""Instants of two clocks have nothing to do with each other: to compare them is an error of usage, and no verdict."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fieldrig import Rig, Stamp, timing
from fieldrig.errors import UsageError
from fieldrig.serial import Console
from fieldrig.stimulus import Program
from fieldrig.stream import Stream

OTHER = "have nothing to do with each other"


@pytest.fixture
def rigs() -> Iterator[tuple[Rig, Rig, Rig]]:
    """One on real time, two that each have a virtual clock."""
    with Rig() as real, Rig(clock="virtual") as one, Rig(clock="virtual") as other:
        yield real, one, other


def talk(rig: Rig) -> tuple[Any, Any, Any]:
    """An action, what was seen of it, and the events of a program, on a wire of a rig that has a virtual clock."""
    rig.add_wire("line", duplex="full")
    with Console("wire://line", rig=rig) as near, Stream("wire://line", rig=rig) as far:
        sent = near.send("tick\n")
        received = far.receive(5, within="1s")
        played = far.play(Program().send(b"tock\n", name="tock"))
        seen = near.expect("tock", within="1s")
    return sent, received, (played, played.of("tock")[0], seen)


def test_what_was_done_and_seen_on_two_virtual_clocks_is_not_compared(rigs: tuple[Rig, Rig, Rig]) -> None:
    _, one, other = rigs
    sent, received, (played, told, seen) = talk(one)
    foreign, theirs, _ = talk(other)
    assert timing.within(received, "1s", after=sent).verdict == "pass"
    assert timing.within(seen, "1s", after=told).verdict == "pass"
    for event in (sent, received, played, told, seen, one.now()):
        for stranger in (foreign, theirs, other.now()):
            with pytest.raises(UsageError, match=OTHER):
                timing.within(event, "1h", after=stranger)
            with pytest.raises(UsageError, match=OTHER):
                event.at.order(stranger)
            with pytest.raises(UsageError, match=OTHER):
                stranger.at - event.at


RULES: list[Callable[[list[Any]], Any]] = [
    lambda events: timing.within(events[1], "1h", after=events[0]),
    lambda events: timing.not_before(events[1], "1ns", after=events[0]),
    lambda events: timing.gap(events, max="1h"),
    lambda events: timing.period(events, "1s", tolerance="1h"),
    lambda events: timing.jitter(events, "1h"),
]


@pytest.mark.parametrize("rule", RULES, ids=["within", "not_before", "gap", "period", "jitter"])
def test_every_rule_refuses_real_and_virtual_time_in_one_series(
    rigs: tuple[Rig, Rig, Rig], rule: Callable[[list[Any]], Any]
) -> None:
    real, virtual, _ = rigs
    with pytest.raises(UsageError, match="one instant is on real time and the other on virtual clock"):
        rule([real.now(), virtual.now(), real.now()])


def test_an_expectation_does_not_begin_at_an_instant_of_another_clock(rigs: tuple[Rig, Rig, Rig]) -> None:
    _, one, other = rigs
    one.add_wire("line", duplex="full")
    with Console("wire://line", rig=one) as near, Stream("wire://line", rig=one) as far:
        far.send(b"ready\n")
        with pytest.raises(UsageError, match=OTHER):
            near.expect("ready", after=other.now(), within="1s")
        with pytest.raises(UsageError, match=OTHER):
            near.expect_none("never", after=other.now(), for_="1s")


def test_rigs_on_real_time_share_a_clock(rigs: tuple[Rig, Rig, Rig]) -> None:
    real, _, _ = rigs
    with socket.create_server(("127.0.0.1", 0)) as listener, Rig() as another:
        begun = real.now()
        with Stream(f"tcp://127.0.0.1:{listener.getsockname()[1]}", rig=another) as stream:
            connection, _ = listener.accept()
            with connection:
                sent = stream.send(b"x")
                connection.sendall(b"y")
                seen = stream.receive(1, within="10s")
        assert begun.order(sent) != "after"
        assert (seen.at - begun).latest_ns >= 0
        assert timing.within(seen, "1min", after=begun).verdict == "pass"


def test_a_stamp_made_by_hand_is_of_no_clock(rigs: tuple[Rig, Rig, Rig]) -> None:
    real, virtual, _ = rigs
    for rig in (real, virtual):
        assert Stamp(0).order(rig.now().on_same_clock(5)) == "before"
    with pytest.raises(UsageError, match=OTHER):
        real.now().on_same_clock(5) - virtual.now()
