"""How late things happen that are due at an instant: ours, in cyclictest and in Python, alone and beside a busy thread.

Rules of this file: deadlines are absolute in all programs, all are asked in the same minute, cyclictest and ours with
the same priority. The busy thread computes in Python; where the program is none, it is that of a process beside it.
Who is not running is late, whoever he is: a run during which the host of a virtual machine took CPU time away is made
again, whatever came out of it, a bounded number of times; how often, and what is left, is told below the table.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tests.bench.process import Process, Stalled, pinned, stolen
from tests.bench.rows import RUST_CLIENT, Target

TIMED_SENDS = RUST_CLIENT.parent / "timed_sends"
PRIORITY = 50
SECONDS = 0.6
ATTEMPTS = 5
PERIODS_US = (1000, 10_000)
TIMED_SEND = "fieldrig, timed send on a pty"
HEADER = f"  {'us':<34}{'p50':>9}{'p99':>9}{'max':>9}{'p99 / cyclictest':>18}{'quartiles':>20}"


@dataclass(frozen=True)
class Late:
    """One round of one program (microseconds)."""

    p50: float
    p99: float
    max: float


@dataclass
class Taken:
    """What the host took while was measured."""

    again: int = 0
    left: int = 0
    seconds: float = 0.0

    def undisturbed(self, measure: Callable[[], Late]) -> Late:
        """Measures until the host takes nothing meanwhile; if it always does, the run with the least counts."""
        best: tuple[float, Late] | None = None
        for attempt in range(ATTEMPTS):
            before = stolen()
            late = measure()
            seconds = stolen() - before
            self.again += attempt > 0
            self.seconds += seconds
            if best is None or seconds < best[0]:
                best = seconds, late
            if not seconds:
                return late
        assert best is not None
        self.left += 1
        return best[1]

    def __str__(self) -> str:
        left = f"; in {self.left} of those that count it did all the same" if self.left else ""
        return f"{self.again} runs made again: the host took {self.seconds:.2f} s of CPU time meanwhile{left}"


Program = Callable[[int, int, bool], Late]


def late_of(nanos: list[int]) -> Late:
    """The figures of single ones."""
    ordered = sorted(nanos)
    p50, p99 = (ordered[min(len(ordered) - 1, len(ordered) * rank // 100)] for rank in (50, 99))
    return Late(p50 / 1000, p99 / 1000, ordered[-1] / 1000)


def main(placements: dict[str, tuple[int, ...]], rounds: int, targets: list[Target]) -> Iterator[str]:
    """Prints the tables; yields what is not run, with the reason; `targets` gets what became of ours."""
    if shutil.which("cyclictest") is None:
        yield "scheduled sends: they need the Debian package rt-tests: run `make peers`"
        return
    if not TIMED_SENDS.exists():
        yield f"scheduled sends: {TIMED_SENDS} is not built: run `make bench`"
        return
    for placement, cpus in placements.items():
        with contextlib.ExitStack() as stack:
            programs = dict(start(cpus, stack))
            for period in PERIODS_US if len(set(cpus)) > 1 else PERIODS_US[:1]:
                for busy in (False, True):
                    beside = "a busy Python thread beside it" if busy else "alone"
                    print(f"\nLate by, every {period} us, {beside}\n {placement}\n{HEADER}", flush=True)
                    taken = Taken()
                    results = show(programs, period, busy, rounds, taken)
                    if taken.seconds:
                        print(f"  {taken}", flush=True)
                    if period == PERIODS_US[0]:
                        targets += judged(results, f"every {period} us, {beside} · {placement}")


def start(cpus: tuple[int, ...], stack: contextlib.ExitStack) -> Iterator[tuple[str, Program]]:
    """The programs, by name; the first is what the others are compared with."""
    yield f"cyclictest -p{PRIORITY}", lambda period, count, busy: cyclictest(cpus, period, count, busy)
    ours = Process([TIMED_SENDS], cpus)
    stack.callback(ours.stop)

    def timed_sends(period: int, count: int, busy: bool, callers: int = 0) -> Late:
        with beside(cpus, busy):
            ours.tell(f"{period} {count} {callers}")
            told = json.loads(ours.line())
        return late_of(told["late_ns"])

    yield TIMED_SEND, timed_sends
    yield "fieldrig, the same, commanded", lambda period, count, busy: timed_sends(period, count, busy, callers=2)
    for mode, name in (
        ("examine", "fieldrig, deadline, from Python"),
        ("stamps", "fieldrig, stamp of what arrives"),
        ("sleep", "Python time.sleep"),
        ("pyserial", "pySerial write on a pty"),
    ):
        yield name, python(mode, cpus, stack)


def python(mode: str, cpus: tuple[int, ...], stack: contextlib.ExitStack) -> Program:
    """A program in Python: the busy thread is its own."""
    process = Process([sys.executable, "-m", "tests.bench.peers.deadlines", mode], cpus)
    stack.callback(process.stop)

    def measure(period: int, count: int, busy: bool) -> Late:
        process.tell(f"{period} {count} {int(busy)}")
        told = json.loads(process.line())
        return late_of(told["late_ns"]) if "late_ns" in told else Late(told["p50"], told["p99"], told["max"])

    return measure


def cyclictest(cpus: tuple[int, ...], period: int, count: int, busy: bool) -> Late:
    """One run of it; its histogram has microseconds."""
    command = ["cyclictest", "-q", "-m", f"-p{PRIORITY}", f"-i{period}", f"-l{count}", "-h200000"]
    with beside(cpus, busy), pinned(*cpus):
        text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    late: list[int] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0].isdigit():
            late += [int(words[0]) * 1000] * int(words[1])
    if not late:
        raise Stalled("cyclictest: nothing was measured: it needs real-time scheduling")
    return late_of(late)


@contextlib.contextmanager
def beside(cpus: tuple[int, ...], busy: bool) -> Iterator[None]:
    """With a process beside it, if wanted, that never stops."""
    if not busy:
        yield
        return
    with pinned(*cpus):
        process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def show(programs: dict[str, Program], period: int, busy: bool, rounds: int, taken: Taken) -> dict[str, list[Late]]:
    """Measures in rounds, in an order that rotates, prints one line for each program, and gives its rounds."""
    count = max(20, int(SECONDS * 1e6 / period))
    results: dict[str, list[Late]] = {name: [] for name in programs}
    problems: dict[str, str] = {}
    names = list(programs)
    for number in range(rounds):
        for offset in range(len(names)):
            name = names[(number + offset) % len(names)]
            if name not in problems:
                try:
                    results[name].append(taken.undisturbed(partial(programs[name], period, count, busy)))
                except (Stalled, subprocess.CalledProcessError) as stalled:
                    problems[name] = str(stalled)
    anchor = results[names[0]]
    for name, lates in results.items():
        print(f"  {name:<34}{problems.get(name) or figures(lates, anchor)}", flush=True)
    return results


def judged(results: dict[str, list[Late]], where: str) -> Iterator[Target]:
    """Our timed sends: no later than cyclictest at p99, and by less than 1 us at p50."""
    anchor, ours = next(iter(results.values())), results[TIMED_SEND]
    what = f"{TIMED_SEND}, {where}"
    if not ours or len(anchor) != len(ours):
        yield Target(what, False, "did not finish")
        return
    ratio, p50 = quartiles(ours, anchor)[1], statistics.median(late.p50 for late in ours)
    yield Target(f"{what}, p99 / cyclictest's", ratio <= 1, f"{ratio:.2f}, target at most 1")
    yield Target(f"{what}, p50", p50 < 1, f"{p50:.2f} us, target below 1 us")


def quartiles(lates: list[Late], anchor: list[Late]) -> list[float]:
    """Of the ratios of p99 to that of the anchor in the same round, whose own resolution is 1 us."""
    ratios = [late.p99 / max(base.p99, 0.5) for late, base in zip(lates, anchor, strict=True)]
    return statistics.quantiles(ratios, method="inclusive")


def figures(lates: list[Late], anchor: list[Late]) -> str:
    """Medians over the rounds, and the ratio of p99 to that of the anchor in the same round."""
    p50, p99, most = (statistics.median(getattr(late, what) for late in lates) for what in ("p50", "p99", "max"))
    text = f"{p50:>9.1f}{p99:>9.1f}{most:>9.0f}"
    if len(anchor) != len(lates):
        return text
    low, middle, high = quartiles(lates, anchor)
    return f"{text}{middle:>18.2f}{f'{low:.2f} .. {high:.2f}':>20}"
