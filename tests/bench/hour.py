"""An hour of polling at 9600 baud on virtual time: how long that takes here, and whether every latency is exact.

Absolute figures: there is no peer. What an exchange takes is arithmetic on the line, see `EXACT`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

from fieldrig import Rig, Span, modbus
from tests.bench.rows import Target

LINE = "9600 8N1"
CHARACTER, SILENCE = 10 * 10**9 // 9600, 7 * 11 * 10**9 // (2 * 9600)
# Eight characters there; the silence, and one more in which a byte could still be complete; 25 back.
EXACT = Span((8 + 25 + 1) * CHARACTER + SILENCE)
HOUR = 3600
ROUNDS = 3
TARGET = 5.0


@dataclass(frozen=True)
class Hour:
    """How it went: seconds of CPU and of the clock on the wall."""

    cpu: float
    wall: float
    polls: int
    exact: int


def main() -> Iterator[Target]:
    """Prints the rows; yields what became of their target, which is absolute: that of an optimized build."""
    print(f"\nvirtual time: an hour of reading 10 registers over RTU at {LINE}, from Python, trace counts")
    print(f"  {'':<24}{'polls':>8}{'exact':>16}{'s of CPU':>10}{'s':>8}   target: below {TARGET:g} s, all exact")
    for name, every in (("one a second", 1.0), ("one after the other", 0.0)):
        hours = [polling(every) for _ in range(ROUNDS)]
        cpu = statistics.median(hour.cpu for hour in hours)
        wall = statistics.median(hour.wall for hour in hours)
        polls, exact = sum(hour.polls for hour in hours), sum(hour.exact for hour in hours)
        held = wall < TARGET and exact == polls
        share = f"{exact / polls:.1%}" if exact == polls else f"{exact}/{polls}"
        verdict = "held" if held else "missed"
        print(f"  {name:<24}{polls // ROUNDS:>8}{share:>16}{cpu:>10.2f}{wall:>8.2f}   {verdict}", flush=True)
        yield Target(f"an hour of polling on virtual time, {name}", held, f"{wall:.2f} s, {share} exact")


def polling(every: float) -> Hour:
    """One hour, a poll each so many seconds; without a pause for 0."""
    wall, cpu = time.perf_counter(), time.process_time()
    with Rig(clock="virtual", trace="counts") as rig:
        rig.add_wire("bus", LINE)
        with (
            modbus.Device("wire://bus", unit=1, holding={0: list(range(10))}, rig=rig),
            modbus.Client("wire://bus", unit=1, rig=rig) as client,
        ):
            polls = exact = 0
            while (due := polls * every if every else rig.now().latest) < HOUR:
                if every:
                    rig.sleep(Span(round(due * 10**9) - rig.now().latest_ns))
                polls += 1
                exact += client.read_holding(0, 10).latency == EXACT
    return Hour(time.process_time() - cpu, time.perf_counter() - wall, polls, exact)
