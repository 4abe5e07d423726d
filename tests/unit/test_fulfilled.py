"""What a program waited for proves something only if its arrival interval does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fieldrig import Stamp
from fieldrig.errors import InconclusiveError, ObserverBlind
from fieldrig.expect import Timeline
from fieldrig.fulfilled import unfulfilled
from fieldrig.stimulus import Program

MS = 1_000_000


def event(step: int, kind: str, begin: int, end: int, due: int | None = None) -> SimpleNamespace:
    """An event between two instants (ms); of what we sent, it was issued then."""
    at = Stamp(begin * MS, end * MS)
    issued = at if kind == "sent" else None
    return SimpleNamespace(
        step=step, kind=kind, at=at, done=at, first=at, issued=issued, scheduled=due and Stamp(due * MS)
    )


def verdict(program: Program, *events: SimpleNamespace, blind: str | None = None) -> Exception | None:
    """What is made of a program that the core completed."""
    played: Any = SimpleNamespace(at=Stamp(MS), done=Stamp(900 * MS), outcome="completed", events=events)
    source: Any = SimpleNamespace(resolution_ns=0, alive=lambda since: blind)
    return unfulfilled(program, played, Stamp(0), "meter", source, Timeline(lambda: Stamp(0)), None, "bench")


ASKS = Program().send(b"?").wait("ok", within="50ms")
SENT = event(1, "sent", 100, 100)


@pytest.mark.parametrize(
    ("begin", "end", "why"),
    [(120, 150, ""), (120, 151, "too late"), (98, 110, "before the send"), (90, 151, "too late")],
)
def test_what_came_at_an_edge_proves_nothing(begin: int, end: int, why: str) -> None:
    problem = verdict(ASKS, SENT, event(2, "seen", begin, end, due=150))
    if why:
        assert isinstance(problem, InconclusiveError) and f"may have come {why}" in str(problem)
    else:
        assert problem is None


def test_what_need_not_come_is_not_judged_and_the_order_of_bytes_is_known() -> None:
    goes_on = Program().send(b"?").wait("ok", within="50ms", otherwise="go_on")
    assert verdict(goes_on, SENT, event(2, "seen", 120, 151, due=150)) is None
    twice = Program().send(b"?").wait("a", within="50ms").wait("b", within="50ms")
    together = (event(2, "seen", 110, 120, due=150), event(3, "seen", 110, 120, due=170))
    assert verdict(twice, SENT, *together) is None


def test_silence_that_nobody_would_have_seen_broken_is_none() -> None:
    silent = Program().send(b"?").wait_none("panic", for_="50ms")
    ended = event(2, "timed out", 150, 150, due=150)
    assert verdict(silent, SENT, ended) is None
    assert isinstance(verdict(silent, SENT, ended, blind="overrun"), ObserverBlind)
