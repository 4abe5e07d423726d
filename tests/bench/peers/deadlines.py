"""Deadlines in Python: `python -m tests.bench.peers.deadlines MODE`.

For each line `PERIOD_US COUNT BUSY` it prints how late COUNT things were: `{"late_ns": [..]}`, or p50, p99 and max in
microseconds. With BUSY a second thread of this process computes meanwhile. Modes: `examine` (the line threads of
fieldrig, seen from Python), `stamps` (its stamps of what another process writes), `sleep`, `pyserial`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

WRITER = """
import os, struct, sys, time
period, count, fd = int(sys.argv[1]) * 1000, int(sys.argv[2]), os.open(sys.argv[3], os.O_RDWR | os.O_NOCTTY)
import tty; tty.setraw(fd)
try: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(40))
except OSError: pass
due = time.monotonic_ns() + 20_000_000
for number in range(count):
    time.sleep(max(0, due + number * period - time.monotonic_ns()) / 1e9)
    os.write(fd, struct.pack("<Q", time.monotonic_ns()))
sys.stdin.read()
"""
"""Writes the instant at which it writes."""


@contextlib.contextmanager
def busy_thread(wanted: bool) -> Iterator[None]:
    """A thread that has the GIL whenever it can."""
    stop = False

    def compute() -> None:
        while not stop:
            sum(range(1000))

    thread = threading.Thread(target=compute)
    if wanted:
        thread.start()
    try:
        yield
    finally:
        stop = True
        if wanted:
            thread.join()


def examine(period: int, count: int) -> dict[str, float]:
    from fieldrig import _core

    late = _core.examine(f"{period}us", f"{period * count}us").deadlines
    return {"p50": late.p50 * 1e6, "p99": late.p99 * 1e6, "max": late.max * 1e6}


def stamps(period: int, count: int) -> dict[str, list[int]]:
    import fieldrig
    from fieldrig._core.stream import Stream

    with fieldrig.Rig(trace="counts") as rig, Stream("pty://", rig=rig) as stream:
        # The clock of runs counts from its own origin.
        origin = min(time.monotonic_ns() - rig.now().earliest_ns for _ in range(100))
        words = [
            sys.executable,
            "-c",
            WRITER,
            str(period),
            str(count),
            stream.url.removeprefix("serial://").split("?")[0],
        ]
        writer = subprocess.Popen(words, stdin=subprocess.PIPE)
        received = stream.receive(8 * count, within="60s")
        writer.communicate()
        pieces = [*received.stamps, (len(received.data), None)]
        late = []
        for (begin, stamp), (end, _) in itertools.pairwise(pieces):
            for offset in range(begin, end, 8):
                (written,) = struct.unpack_from("<Q", received.data, offset)
                assert stamp is not None
                late.append(stamp.latest_ns + origin - written)
    return {"late_ns": late}


def sleep(period: int, count: int) -> dict[str, list[int]]:
    return {"late_ns": [time.monotonic_ns() - due for due in deadlines(period, count)]}


def pyserial(period: int, count: int) -> dict[str, list[int]]:
    import serial

    master, slave = os.openpty()
    late = []
    drain = threading.Thread(target=lambda: _drain(master), daemon=True)
    with serial.Serial(os.ttyname(slave), 115200) as port:
        drain.start()
        for due in deadlines(period, count):
            late.append(time.monotonic_ns() - due)
            port.write(b"8 bytes\n")
    os.close(slave)
    drain.join()
    os.close(master)
    return {"late_ns": late}


def _drain(master: int) -> None:
    with contextlib.suppress(OSError):  # nobody has the other end any more
        while os.read(master, 4096):
            pass


def deadlines(period: int, count: int) -> Iterator[int]:
    """Each when it is over: absolute ones."""
    first = time.monotonic_ns() + 20_000_000
    for number in range(count):
        due = first + number * period * 1000
        while (left := due - time.monotonic_ns()) > 0:
            time.sleep(left / 1e9)
        yield due


def main() -> None:
    """Answers line after line."""
    measure = {"examine": examine, "stamps": stamps, "sleep": sleep, "pyserial": pyserial}[sys.argv[1]]
    for line in sys.stdin:
        period, count, busy = map(int, line.split())
        with busy_thread(bool(busy)):
            told = measure(period, count)
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
