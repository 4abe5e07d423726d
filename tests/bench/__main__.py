"""`python -m tests.bench`: all comparisons in both placements, timed sends, and an hour on virtual time; BENCH_ROUNDS
(default 11) shortens the comparisons.

`python -m tests.bench console`: only those in whose title a word stands.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator

from tests.bench import hour, timing
from tests.bench.console_rows import consoles
from tests.bench.process import Pair, Result, Stalled, stolen
from tests.bench.rows import Comparison, Entrant, Target, comparisons

HEADER = f"  {'':<28}{'ratio':>7}{'quartiles':>15}{'target':>8}{'us/op':>10}{'client CPU':>12}{'server CPU':>12}"


def main() -> int:
    """Prints the table."""
    rounds = int(os.environ.get("BENCH_ROUNDS", "11"))
    if rounds < 3:
        print("BENCH_ROUNDS must be 3 or more: quartiles need three rounds", file=sys.stderr)
        return 2
    begin, stolen_before = time.monotonic(), stolen()
    rows, missing = comparisons()
    rows += consoles(missing)
    targets: list[Target] = []
    if words := [word.lower() for word in sys.argv[1:]]:
        rows = [row for row in rows if any(word in row.title.lower() for word in words)]
    cpus = sorted(os.sched_getaffinity(0))
    placements = {"one_cpu": (cpus[0], cpus[0])}
    if len(cpus) > 1:
        placements["two_cpus"] = (cpus[0], cpus[1])
    else:
        missing.append("placement two_cpus: this machine gives us one CPU")
    machine = f"{platform.machine()} · Linux {platform.release()} · Python {platform.python_version()}"
    print(f"{rounds} interleaved rounds · {machine}")
    print("ratio: the baseline's time (or CPU, where that is compared) / its own, median over rounds; us per operation")
    with tempfile.TemporaryDirectory() as traces:
        os.environ["TMPDIR"] = traces  # where our own entrants write their traces
        for comparison in rows:
            print(f"\n{comparison.title}")
            for placement, where in placements.items():
                print(f" {placement}\n{HEADER}", flush=True)
                targets += show(comparison, placement, run(comparison, where, rounds))
    if not words:
        missing += timing.main(placements, rounds, targets)
        targets += hour.main()
    for line in missing:
        print(f"\nnot run: {line}")
    took = time.monotonic() - begin
    print(f"\nthe host took {stolen() - stolen_before:.2f} s of CPU time from this machine in {took:.0f} s")
    summary(targets)
    return 0


def summary(targets: list[Target]) -> None:
    """Prints how many targets are held, and those that are not."""
    if not targets:
        return
    missed = [target for target in targets if not target.held]
    print(f"\ntargets: {len(targets) - len(missed)} held, {len(missed)} missed")
    for target in missed:
        print(f"  missed: {target.what}: {target.figure}")


def run(comparison: Comparison, cpus: tuple[int, int], rounds: int) -> list[list[Result] | Stalled]:
    """The results of each entrant, one for each round; Stalled for an entrant that cannot do the work."""
    pairs: list[Pair] = []
    try:
        pairs.extend(Pair(entrant.server, entrant.client, cpus) for entrant in comparison.entrants)
        results: list[list[Result] | Stalled] = [[] for _ in pairs]
        for index, pair in enumerate(pairs):  # a round that does not count
            take(results, index, pair, comparison.count // 4)
        results = [[] if isinstance(result, list) else result for result in results]
        for number in range(rounds):
            for offset in range(len(pairs)):
                index = (number + offset) % len(pairs)
                take(results, index, pairs[index], comparison.count)
        return results
    finally:
        for pair in pairs:
            pair.stop()


def take(results: list[list[Result] | Stalled], index: int, pair: Pair, count: int) -> None:
    """One round of one entrant; one that stalled is not asked again."""
    result = results[index]
    if isinstance(result, Stalled):
        return
    try:
        result.append(pair.round(count))
    except Stalled as stalled:
        results[index] = stalled
        pair.stop()  # what it may still be doing would be beside the others


def show(comparison: Comparison, placement: str, results: list[list[Result] | Stalled]) -> Iterator[Target]:
    """Prints one line for each entrant; yields what became of its target."""
    baseline, *_ = results
    if isinstance(baseline, Stalled):
        raise baseline
    base = [time_of(comparison.metric, result) for result in baseline]
    for entrant, result in zip(comparison.entrants, results, strict=True):
        what = f"{entrant.name} · {placement} · {comparison.title}"
        if isinstance(result, Stalled):
            print(f"  {entrant.name:<28}did not finish: {result}", flush=True)
            if entrant.target is not None:
                yield Target(what, False, "did not finish")
            continue
        own = [time_of(comparison.metric, one) for one in result]
        quartiles = statistics.quantiles(
            [one / other for one, other in zip(base, own, strict=True)], method="inclusive"
        )
        held = entrant.target is None or quartiles[1] >= entrant.target
        verdict = "" if entrant.target is None else "held" if held else "missed"
        print(f"  {entrant.name:<28}{figures(comparison, entrant, quartiles, result)}  {verdict}", flush=True)
        if entrant.target is not None:
            yield Target(what, held, f"{quartiles[1]:.2f}, target {entrant.target:.2f}")


def figures(comparison: Comparison, entrant: Entrant, ratios: list[float], results: list[Result]) -> str:
    """The figures of one entrant; `ratios` are the quartiles."""
    low, middle, high = ratios
    client = statistics.median(result.client_cpu_ns / result.operations for result in results) / 1000
    server = statistics.median(result.server_cpu_ns / result.operations for result in results) / 1000
    target = "" if entrant.target is None else f"{entrant.target:.2f}"
    quartiles = f"{low:.2f} .. {high:.2f}"
    own = "elapsed_ns" if comparison.metric == "server_cpu_ns" else comparison.metric
    shown = statistics.median(time_of(own, result) for result in results) / 1000
    return f"{middle:>7.2f}{quartiles:>15}{target:>8}{shown:>10.1f}{client:>12.1f}{server:>12.1f}"


def time_of(metric: str, result: Result) -> float:
    """Nanoseconds for one operation: the median at depth 1, the mean of the round where throughput or CPU counts."""
    total: int = getattr(result, metric)
    return total if metric == "p50_ns" else total / result.operations


if __name__ == "__main__":
    sys.exit(main())
