"""Judges times while somebody stops this process for 20 ms; prints a line of JSON for each verdict.

Arguments: what answers (`other`: a process of its own on the other end of a pty; `own`: an emulated device in here),
how many rounds in which the machine was not too busy are wanted, and how many rounds there may be in all. Who stops us
is a process of its own in both cases. What really happened is told by the clock that all processes of a machine share.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from fieldrig import Rig, modbus, timing
from fieldrig.errors import DutError, InconclusiveError
from fieldrig.measure import Measure, most_stalled
from fieldrig.serial import Console

# Answers what comes on a pty 10 ms later, and stops the other process from 10 ms before that until 10 ms behind it.
DEVICE = """
import os, signal, sys, time, tty
path, pid = sys.argv[1], int(sys.argv[2])
port = os.open(path, os.O_RDWR | os.O_NOCTTY)
tty.setraw(port)
os.write(port, b"ready\\n")
def until(instant):
    time.sleep(max(0, instant - time.monotonic()))
def stopped():
    while open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] not in "Tt":
        time.sleep(0.0002)
while os.read(port, 64):
    os.kill(pid, signal.SIGSTOP)
    stopped()
    begun = time.monotonic()
    until(begun + 0.010)
    written = time.monotonic_ns()
    os.write(port, b"tick %d\\n" % written)
    until(begun + 0.020)
    os.kill(pid, signal.SIGCONT)
"""

# Stops the other process for 20 ms whenever it is told to.
STOPPER = """
import os, signal, sys, time
pid = int(sys.argv[1])
while sys.stdin.buffer.readline():
    os.kill(pid, signal.SIGSTOP)
    while open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] not in "Tt":
        time.sleep(0.0002)
    time.sleep(0.020)
    os.kill(pid, signal.SIGCONT)
    print("done", flush=True)
"""


Timely = Callable[[bool], None]


def until_enough(wanted: int, at_most: int) -> Iterator[Timely]:
    """Rounds, each of which is told whether the machine was not too busy for it."""
    left = [wanted]

    def timely(this: bool) -> None:
        left[0] -= this
        print(json.dumps({"timely": this}), flush=True)

    while left[0] > 0 and at_most > 0:
        at_most -= 1
        yield timely


def verdict(judge: Callable[[], object]) -> tuple[str, str]:
    try:
        judge()
    except InconclusiveError as error:
        return "inconclusive", error.message
    except DutError as error:
        return "fail", error.message
    return "pass", ""


def tell(rule: str, limit_ms: float, took_ms: float, judge: Callable[[], object]) -> None:
    word, why = verdict(judge)
    print(json.dumps({"rule": rule, "limit_ms": limit_ms, "took_ms": took_ms, "verdict": word, "why": why}), flush=True)


def measured(rig: Rig, span: object, limit: str, began: object) -> None:
    measure = Measure(
        lambda length_ns: most_stalled(rig.hiccups(began), length_ns),  # type: ignore[arg-type]
        lambda taken: None,
        {},
    )
    measure("latency", span, max=limit)  # type: ignore[arg-type]
    outcome = measure.outcome()
    if outcome is not None:
        raise outcome


def answered_by_another_process(rounds: Iterator[Timely]) -> None:
    with Rig() as rig, Console("pty://", rig=rig) as console:
        path = console.url.removeprefix("serial://").partition("?")[0]
        command = [sys.executable, "-c", DEVICE, path, str(os.getpid())]
        with subprocess.Popen(command) as device:
            console.expect("ready", within="30s")
            for timely in rounds:
                begun, began = time.monotonic_ns(), rig.now()
                sent = console.send("go")
                tick = console.expect(r"tick (\d+)", after=sent, within="30s")
                took = (int(tick[1]) - begun) / 1e6
                timely(took < 24)  # it was stopped at once: the answer came within the 20 ms
                tell("within", 15, took, partial(timing.within, tick, "15ms", after=sent))
                tell("not_before", 5, took, partial(timing.not_before, tick, "5ms", after=sent))
                tell("measure", 15, took, partial(measured, rig, sent.until(tick), "15ms", began))
            device.kill()


def answered_by_an_own_device(rounds: Iterator[Timely]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STOPPER, str(os.getpid())], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as stopper:
        assert stopper.stdin is not None

        def stop(request: object) -> None:
            assert stopper.stdin is not None and stopper.stdout is not None
            stopper.stdin.write(b"stop\n")
            stopper.stdin.flush()
            stopper.stdout.readline()

        with Rig() as rig, modbus.Device(holding={0: [7]}, handler=stop, rig=rig) as device:
            with modbus.Client(device.url, rig=rig) as client:
                for timely in rounds:
                    begun, began = time.monotonic_ns(), rig.now()
                    answer = client.read_holding(0)
                    took = (time.monotonic_ns() - begun) / 1e6
                    timely(took < 33)  # little but the stop delayed it
                    tell("within", 15, took, partial(timing.within, answer.done, "15ms", after=answer))
                    tell("measure", 15, took, partial(measured, rig, answer.latency, "15ms", began))
        stopper.stdin.close()


if __name__ == "__main__":
    which = {"other": answered_by_another_process, "own": answered_by_an_own_device}[sys.argv[1]]
    which(until_enough(int(sys.argv[2]), int(sys.argv[3])))
