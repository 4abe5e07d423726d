"""How finely a port tells time, measured: with a jumper from TX to RX, or from one port to another.

::

    from time import sleep

    from fieldrig.calibrate import measure
    from fieldrig.stream import Stream

    with Stream("serial:///dev/ttyUSB0?line=115200+8N1") as jumpered:
        found = measure(jumpered, jumpered, character_ns=86_806, pause=lambda nanos: sleep(nanos / 1e9))

Rules of this file:

- The arrival delay of a byte counts from the issue of its send, less the time it takes on the line, to the read that
  gave it: everything that may have held it back is in it. What sends late makes it longer, never shorter.
- A gap can be told from none at 99 % if a threshold parts the two: the gaps measured between two bytes that were sent
  so far apart lie above it, and those between two bytes of one write below it, in 99 of 100 rounds each.
- The resolution is the longer of both: the longest delay seen and the shortest gap that can be told.
- Before each round is a pause of another length: an adapter that collects bytes delivers by a clock of its own, and who
  always answers its delivery at once sees the same moment of that clock each time.
- Rounds in which the host stood still, or our own second byte was late, are left out and counted.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from ._core import Rig, Span
from ._core.stream import Received, Sent, Stream
from .errors import BenchError, InconclusiveError

GAPS_NS = tuple(round(micros * 1000) for micros in (100, 200, 350, 500, 750))
GAPS_NS += tuple(round(millis * 1e6) for millis in (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 50, 100))
CERTAIN = 0.99
SPREAD_NS = 20_000_000
"""The pauses are spread over this until it is known how long bytes are held back: longer than adapters collect."""
_PATIENCE = "1s"
_LEFT_OUT = 3
"""Left out may be so many times as many rounds as count."""


@dataclass
class Measured:
    """What was measured; times in nanoseconds.

    Attributes:
        delays: of each round that counts, from the end of a byte on the line to the read that gave it.
        gap_ns: the shortest gap that can be told from none.
        left_out: how many rounds do not count.
    """

    delays: list[int] = field(default_factory=list)
    gap_ns: int = 0
    left_out: int = 0

    @property
    def resolution_ns(self) -> int:
        """So long may a byte have waited, and so short a gap can be told."""
        return max(self.gap_ns, self.delays[-1])

    def delay_ns(self, share: float) -> int:
        """The delay that this share of the rounds kept."""
        return quantile(self.delays, share)


def quantile(values: list[int], share: float) -> int:
    """The smallest of some values, in order, that this share of them does not exceed."""
    return values[min(len(values) - 1, max(0, -(-len(values) * round(share * 1000) // 1000) - 1))]


def measure(
    out: Stream,
    back: Stream,
    *,
    character_ns: int,
    pause: Callable[[int], None],
    rounds: int = 200,
    stalled: Callable[[Sent], bool] = lambda sent: False,
    tell: Callable[[str], None] = lambda text: None,
) -> Measured:
    """Measures the port `back`, to which everything comes that is sent on `out`; both may be the same.

    Args:
        out: where bytes are sent.
        back: where they arrive.
        character_ns: how long a character takes on the line.
        pause: waits so many nanoseconds.
        rounds: how many rounds each figure is made of.
        stalled: whether the host stood still since a send.
        tell: is told what is being done.

    Raises:
        BenchError: nothing comes back, or something else; no gap can be told.
        InconclusiveError: the host is too busy to measure anything.
    """
    bench = _Bench(out, back, stalled, pause)
    tell("how long bytes are held back")
    delays = bench.rounds(rounds, bench.delay)
    if delays[0] < character_ns:
        character_ns = 0  # it was there before it could have come over a line of this speed: the port has none
    bench.found.delays = [delay - character_ns for delay in delays]
    bench.spread_ns = bench.found.delays[-1]
    tell("two bytes of one write")
    none = bench.rounds(rounds, lambda: bench.gap(0, 0))
    threshold = quantile(none, CERTAIN)
    for gap_ns in GAPS_NS:
        tell(f"gaps of {gap_ns / 1e6:g} ms")
        if bench.can_tell(gap_ns, character_ns, threshold, rounds):
            bench.found.gap_ns = gap_ns
            return bench.found
    if bench.unsent is not None:
        raise bench.unsent
    raise BenchError(f"not even a gap of {GAPS_NS[-1] / 1e6:g} ms can be told from none through this port")


class _Bench:
    """The two ports, and what was found so far."""

    def __init__(
        self, out: Stream, back: Stream, stalled: Callable[[Sent], bool], pause: Callable[[int], None]
    ) -> None:
        self._out = out
        self._back = back
        self._stalled = stalled
        self._pause = pause
        self._random = random.Random(1)
        self._next = 0
        self.found = Measured()
        self.spread_ns = SPREAD_NS
        self.unsent: InconclusiveError | None = None

    def rounds(self, count: int, one: Callable[[], int | None]) -> list[int]:
        """So many values in order, without those of rounds that do not count."""
        values: list[int] = []
        out = 0
        while len(values) < count:
            self._pause(self._random.randrange(self.spread_ns + 1))
            value = one()
            if value is not None:
                values.append(value)
                continue
            out += 1
            self.found.left_out += 1
            if out > _LEFT_OUT * count:
                hint = "measure again while less runs on it, or give fieldrig real-time scheduling"
                raise InconclusiveError("this host stands still too often, or sends too late, to measure", hint=hint)
        return sorted(values)

    def delay(self) -> int | None:
        """The delay of one byte, with its time on the line; None if the round does not count."""
        data = self._bytes(1)
        sent = self._out.send(data)
        got = self._receive(data)
        return None if self._stalled(sent) else got.at.latest_ns - sent.at.earliest_ns

    def gap(self, gap_ns: int, character_ns: int) -> int | None:
        """The gap measured between two bytes that were sent so far apart; None if the round does not count."""
        data = self._bytes(2)
        if not gap_ns:
            sent, late = self._out.send(data), False
        else:
            pause = gap_ns + character_ns
            sent = self._out.send_parts([(None, data[:1]), (Span(pause), data[1:])])
            late = sent.done.latest_ns - sent.at.earliest_ns > pause + gap_ns // 4 + 50_000
        got = self._receive(data)
        if late or self._stalled(sent):
            return None
        stamps = got.stamps
        return stamps[-1][1].latest_ns - stamps[0][1].latest_ns

    def can_tell(self, gap_ns: int, character_ns: int, threshold: int, rounds: int) -> bool:
        """Whether 99 of 100 such gaps are longer than the threshold; gives up as soon as too many are not.

        A gap that cannot be sent so exactly here is not told either.
        """
        missed = 0

        def one() -> int | None:
            nonlocal missed
            found = self.gap(gap_ns, character_ns)
            missed += found is not None and found <= threshold
            if missed > rounds * (1 - CERTAIN) + 1e-9:
                raise _Missed
            return found

        try:
            self.rounds(rounds, one)
        except _Missed:
            return False
        except InconclusiveError as unsent:
            self.unsent = unsent
            return False
        return True

    def _bytes(self, count: int) -> bytes:
        self._next += count
        return bytes((self._next + index) % 256 for index in range(count))

    def _receive(self, data: bytes) -> Received:
        got = self._back.receive(len(data), within=_PATIENCE)
        if got.data == data:
            return got
        if not got.data:
            hint = "is TX joined to RX (or to the other port's), and do both have the same ground?"
            raise BenchError("nothing came back", hint=hint)
        said = f"{got.data.hex(' ')} came back in the place of {data.hex(' ')}"
        raise BenchError(
            said, hint="does something else talk on this line, or does it echo, or is the other speed wrong?"
        )


class _Missed(Exception):
    """Too many gaps were not told."""


def watcher(rig: Rig) -> Callable[[Sent], bool]:
    """Says of a rig whether its host stood still since a send."""
    return lambda sent: bool(rig.hiccups(sent.at))
