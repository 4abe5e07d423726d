"""Consoles of the benchmark: `console.py NAME ping|flood PATH`, run by the Python that has the peer.

For each line `COUNT` on standard input it makes COUNT round trips, or waits COUNT times for the end of 2.3 MB, and
prints one JSON line, as `raw_client.c` does. This file imports nothing of fieldrig or of other peers on its way.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

Exchange = Callable[[str, str], None]
"""Sends a line and waits for a text; nothing of what came before may be left."""

LAST = {"ping": "pong", "flood": "login: "}
SIZE = 2_300_000
LIMIT = 30


def raw_descriptor(path: str) -> Exchange:
    """The anchor of the flood: it reads, and looks at the end of what it has read."""
    import tty

    line = os.open(path, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(line)

    def exchange(text: str, last: str) -> None:
        os.write(line, text.encode() + b"\n")
        end = last.encode()
        tail = b""
        while not tail.endswith((end, end + b"\r\n")):
            tail = (tail + os.read(line, 65536))[-16:]

    return exchange


def pyserial(path: str) -> Exchange:
    """The anchor of the round trip: as few calls as there can be."""
    import serial

    port = serial.Serial(path, 115200, timeout=LIMIT)

    def exchange(text: str, last: str) -> None:
        port.write(text.encode() + b"\n")
        if text == "ping":
            if port.read(6) != b"pong\r\n":
                raise ValueError("not the answer")
            return
        tail = b""
        while not tail.endswith(last.encode()):
            tail = (tail + port.read(max(1, port.in_waiting)))[-16:]

    return exchange


def pyserial_until(path: str) -> Exchange:
    """pySerial as its own `read_until` does it."""
    import serial

    port = serial.Serial(path, 115200, timeout=LIMIT)

    def exchange(text: str, last: str) -> None:
        port.write(text.encode() + b"\n")
        port.read_until((last + "\r\n" if text == "ping" else last).encode())

    return exchange


def fieldrig(trace: str) -> Callable[[str], Exchange]:
    """Our console."""

    def connect(path: str) -> Exchange:
        from fieldrig import Rig
        from fieldrig.serial import Console

        rig = Rig(folder=tempfile.mkdtemp(prefix="fieldrig-bench-"), trace=trace, name="bench")  # type: ignore[arg-type]
        console = Console(f"serial://{path}?line=115200+8N1", rig=rig)

        def exchange(text: str, last: str) -> None:
            sent = console.send(text)
            console.expect(last, after=sent, within=f"{LIMIT}s")

        return exchange

    return connect


def labgrid(path: str) -> Exchange:
    """labgrid's serial driver."""
    from labgrid import Target
    from labgrid.driver import SerialDriver
    from labgrid.resource import RawSerialPort

    target = Target("bench")
    RawSerialPort(target, name=None, port=path, speed=115200)
    driver = SerialDriver(target, name=None)
    target.activate(driver)

    def exchange(text: str, last: str) -> None:
        driver.sendline(text)
        driver.expect(last, timeout=LIMIT)

    return exchange


def pytest_embedded(dut: Any) -> Exchange:
    """The `dut` of pytest-embedded."""

    def exchange(text: str, last: str) -> None:
        dut.write(text)
        dut.expect_exact(last, timeout=LIMIT)

    return exchange


CONSOLES: dict[str, Callable[[str], Exchange]] = {
    "raw": raw_descriptor,
    "pyserial": pyserial,
    "pyserial-until": pyserial_until,
    "fieldrig-full": fieldrig("full"),
    "fieldrig-counts": fieldrig("counts"),
    "labgrid": labgrid,
}


def serve(exchange: Exchange, kind: str, say: Callable[[str], None]) -> None:
    """Does what standard input asks for."""
    for line in sys.stdin:
        times = []
        begin = before = perf_counter_ns()
        try:
            for _ in range(int(line)):
                exchange(kind, LAST[kind])
                now = perf_counter_ns()
                times.append(now - before)
                before = now
        except Exception as error:  # whatever a peer raises: it cannot do the work
            say(json.dumps({"stalled": f"{type(error).__name__}: {str(error).splitlines()[0][:60]}"}))
            continue
        took = {"operations": len(times), "elapsed_ns": before - begin, "p50_ns": int(statistics.median(times))}
        say(json.dumps(took))


def under_pytest(kind: str, path: str) -> None:
    """pytest-embedded has its consoles as fixtures: this process becomes a run of pytest with one test."""
    import pytest

    out = os.dup(1)
    os.dup2(2, 1)  # what pytest says is not for the benchmark

    class Plugin:
        @pytest.fixture
        def bench(self) -> Callable[[Any], None]:
            def run(dut: Any) -> None:
                serve(pytest_embedded(dut), kind, lambda text: os.write(out, text.encode() + b"\n") and None)

            return run

    with tempfile.TemporaryDirectory() as folder:
        test = os.path.join(folder, "test_bench.py")
        with open(test, "w") as file:
            file.write("def test_bench(dut, bench):\n    bench(dut)\n")
        options = ["-s", "-q", "-p", "no:cacheprovider", "--embedded-services", "serial", "--port", path, test]
        sys.exit(pytest.main(options, plugins=[Plugin()]))


def main() -> None:
    name, kind, path = sys.argv[1:]
    if name == "pytest-embedded":
        under_pytest(kind, path)
    else:
        serve(CONSOLES[name](path), kind, lambda text: print(text, flush=True))


if __name__ == "__main__":
    main()
