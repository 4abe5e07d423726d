"""Measures how well this host lets serial lines meet deadlines, and says what to change.

Example: fieldrig doctor --seconds 10 --period 1ms

Works as cyclictest does, with the threads that drive serial lines. Run it while the host does what it does in tests.
Exit code 0 in timing class A (real-time scheduling), 4 in others: there, short limits may be inconclusive.
"""

from __future__ import annotations

import argparse
import getpass
import os
from collections.abc import Iterator

from .. import _core
from .._core import Checkup, Lateness, duration_ns
from ..errors import UsageError
from .exits import Exit
from .output import Output

_PRIORITY = 60
"""Room for line threads (50) and the sentinel above them."""
_CLASSES = {
    "A": "real-time scheduling",
    "B": "ordinary scheduling with a short time slice: good while the host has nothing else to do",
    "C": "ordinary scheduling: good while the host has nothing else to do",
}


def add(parser: argparse.ArgumentParser) -> None:
    """How long, how often, and where."""
    parser.add_argument("--seconds", type=float, default=5.0, help="how long it measures (default 5)")
    parser.add_argument("--period", default="1ms", help="from deadline to deadline (default 1ms)")
    parser.add_argument("--cpu", type=int, help="the CPU to which the thread is bound; by default it may move")


def run(options: argparse.Namespace, output: Output) -> int:
    """Measures and prints."""
    if not 0.05 <= options.seconds <= 3600:
        raise UsageError(f"--seconds is {options.seconds:g}", hint="0.05 to 3600")
    if not 50_000 <= duration_ns(options.period) <= 1_000_000_000:
        raise UsageError(f"--period is {options.period}", hint="50us to 1s")
    allowed = sorted(os.sched_getaffinity(0))
    if options.cpu is not None and options.cpu not in allowed:
        raise UsageError(
            f"--cpu is {options.cpu}, which this process may not use", hint=f"one of {', '.join(map(str, allowed))}"
        )
    output.progress(f"measuring for {options.seconds:g} s")
    checkup = _core.examine(options.period, f"{round(options.seconds * 1000)}ms", cpu=options.cpu)
    good = checkup.timing_class == "A"
    remedies = [] if good else list(_remedies(checkup))
    _print(checkup, options.period, remedies, output)
    code = Exit.PASS if good else Exit.INCONCLUSIVE
    output.record(
        "doctor",
        timing_class=checkup.timing_class,
        period_ns=duration_ns(options.period),
        steps=[{"step": name, "reached": reached, "outcome": outcome} for name, reached, outcome in checkup.steps],
        wakes=_fields(checkup.wakes),
        deadlines=_fields(checkup.deadlines),
        explained=checkup.explained,
        stalls=[{"kind": stall.kind, "ns": stall.latest_ns, "reason": stall.reason} for stall in checkup.stalls],
        facts=[{"fact": name, "what": what, "but": but} for name, what, but in checkup.facts],
        remedies=[{"where": where, "lines": lines} for where, lines in remedies],
        exit=int(code),
    )
    return code


def _print(checkup: Checkup, period: str, remedies: list[tuple[str, list[str]]], output: Output) -> None:
    name = checkup.timing_class
    style = "ok" if name == "A" else "warning"
    output.say(f"timing class {output.style(name, style)}: {_CLASSES[name]}")
    for step, reached, outcome in checkup.steps:
        output.say(f"  {output.style('yes' if reached else 'no ', 'ok' if reached else 'warning')}  {step}: {outcome}")
    output.say()
    output.say(f"{checkup.deadlines.count} deadlines, every {period}; how late (us):")
    rows = [
        _row("when a sleep ended (as cyclictest measures)", checkup.wakes),
        _row("when the deadline was met", checkup.deadlines),
    ]
    output.table(rows, ["", "p50", "p99", "p99.9", "max", "missed"])
    if checkup.deadlines.p999 is None:
        output.say("  p99.9 needs 3000 deadlines: measure for longer")
    output.say()
    output.table(_bars(checkup.deadlines), ["later than", "deadlines", ""])
    if checkup.explained is not None:
        output.say(f"  of all lateness beyond 100 us, the run queue of this host explains {checkup.explained:.0%}")
    for stall in checkup.stalls:
        output.say(f"  {output.style('!', 'warning')} {stall.reason}")
    output.say()
    output.table([(name, what, but or "") for name, what, but in checkup.facts], ["this host", "", ""])
    for where, lines in remedies:
        output.say()
        output.say(f"for class A {where}:")
        for line in lines:
            output.say(f"    {line}")


def _row(what: str, late: Lateness) -> tuple[str, ...]:
    p999 = "" if late.p999 is None else _micros(late.p999)
    return what, _micros(late.p50), _micros(late.p99), p999, _micros(late.max), str(late.missed)


def _micros(seconds: float) -> str:
    micros = seconds * 1e6
    return f"{micros:.0f}" if micros >= 10 else f"{micros:.1f}"


def _bars(late: Lateness) -> Iterator[tuple[str, str, str]]:
    """One row for each bar that is not empty; the longest is 40 signs long."""
    most = max((count for _, count in late.histogram), default=0)
    bound = 0.0
    for upper, count in late.histogram:
        if count:
            yield f"{bound * 1e6:g} us", str(count), "#" * max(1, round(40 * count / most))
        bound = upper or bound


def _fields(late: Lateness) -> dict[str, object]:
    return {
        "count": late.count,
        "p50": late.p50,
        "p99": late.p99,
        "p999": late.p999,
        "max": late.max,
        "missed": late.missed,
        "histogram": [{"below": bound, "count": count} for bound, count in late.histogram],
    }


def _remedies(checkup: Checkup) -> Iterator[tuple[str, list[str]]]:
    """Where real-time scheduling is granted, and the lines to add there; what fits this host comes first."""
    facts = {name: what for name, what, _ in checkup.facts}
    user = _user()
    container = (
        "in a container (docker run, podman run)",
        [f"--cap-add SYS_NICE --cap-add IPC_LOCK --ulimit rtprio={_PRIORITY} --ulimit memlock=-1"],
    )
    others = [
        (
            f"at the next login of {user}, in /etc/security/limits.d/fieldrig.conf",
            [f"{user} - rtprio {_PRIORITY}", f"{user} - memlock unlimited"],
        ),
        (
            "in a service of systemd, under [Service]",
            [f"LimitRTPRIO={_PRIORITY}", "LimitMEMLOCK=infinity"],
        ),
        (
            "in a service of systemd that may not have limits, under [Service]",
            ["AmbientCapabilities=CAP_SYS_NICE CAP_IPC_LOCK"],
        ),
    ]
    if "control group" in facts and "rt_runtime" in facts["control group"]:
        yield "in this control group, as root", ["echo 950000 > cpu.rt_runtime_us    # of the group and all above it"]
    yield from [container, *others] if "container" in facts else [*others, container]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return "YOUR_USER"
