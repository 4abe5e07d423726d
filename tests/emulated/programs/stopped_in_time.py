"""Is answered in time while somebody stops this process until those are over; prints what it says to that, as JSON.

The argument says how it asks: `console` (`Console.expect`), `modbus` (`modbus.Client`), `protocol` (a described one).
The device is a process of its own at the other end of a TCP connection: it stops us, answers, and lets us go on when
the time is over. What it sent is in our kernel by then, with the instant at which it came.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

from fieldrig import modbus, protocol
from fieldrig.errors import DutError, InconclusiveError
from fieldrig.serial import Console

ROUNDS, WITHIN_MS = 12, 6
"""The stop is shorter than what the sentinel is sure to see."""

DEVICE = """
import os, signal, socket, sys, time
pid, within, kind = int(sys.argv[1]), float(sys.argv[2]) / 1000, sys.argv[3]
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
while asked := connection.recv(256):
    begun = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    while open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] not in "Tt":
        pass
    modbus = asked[:4] + bytes([0, 5]) + asked[6:8] + bytes([2, 0, 7])
    connection.sendall(modbus if kind == "modbus" else b"207\\n")
    print(time.monotonic_ns(), flush=True)
    time.sleep(max(0, begun + 1.3 * within - time.monotonic()))
    os.kill(pid, signal.SIGCONT)
"""

PLAIN = protocol.Protocol(
    {
        "name": "plain",
        "frame": {"by": "delimiter", "end": "0a", "header": {"kind": "dec[1] tag"}},
        "message": {
            "status": {"tag": 1, "answer": "report"},
            "report": {"tag": 2, "fields": {"volts": "dec[2]"}},
        },
    }
)


def asks(kind: str, port: int) -> Callable[[], object]:
    """What asks the device once, and takes `WITHIN_MS` for its answer."""
    url, within = f"tcp://127.0.0.1:{port}", f"{WITHIN_MS}ms"
    if kind == "console":
        console = Console(url)
        return lambda: console.expect("207", after=console.send("go"), within=within)
    if kind == "modbus":
        client = modbus.Client(url, timeout=within)
        return lambda: client.read_holding(0)
    described = protocol.Client(url, PLAIN)
    return lambda: described.ask("status", timeout=within)


def main(kind: str) -> None:
    command = [sys.executable, "-c", DEVICE, str(os.getpid()), str(WITHIN_MS), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as device:
        assert device.stdout is not None
        ask = asks(kind, int(device.stdout.readline()))
        for _ in range(ROUNDS):
            begun = time.monotonic_ns()
            try:
                ask()
                verdict, why = "pass", ""
            except InconclusiveError as error:
                verdict, why = "inconclusive", error.message
            except DutError as error:
                verdict, why = "fail", error.message
            in_time = int(device.stdout.readline()) - begun < 0.9 * WITHIN_MS * 1e6
            print(json.dumps({"in_time": in_time, "verdict": verdict, "why": why}), flush=True)
        device.kill()


if __name__ == "__main__":
    main(sys.argv[1])
