"""Opens one of everything, keeps threads busy in calls, and ends without closing anything, in one of several ways:
`leaves_everything_open.py end|raise|exit|raise-at-exit|collected`
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import sys
import threading

from fieldrig import Rig, modbus, mqtt, serial
from fieldrig.errors import FieldrigError

device = modbus.Device(holding={0: [1, 2, 3]})
client = modbus.Client(device.url)
broker = mqtt.Broker()
publisher = mqtt.Client(broker.url)
watch = publisher.watch("#")
console = serial.Console("pty://?line=9600+8N1")
started = threading.Barrier(4)


def busy() -> None:
    """Ends when the interpreter goes away and everything is closed."""
    client.read_holding(0, 3)
    started.wait()
    with contextlib.suppress(FieldrigError):
        while True:
            client.read_holding(0, 3)


def blocked_on_console() -> None:
    started.wait()
    with contextlib.suppress(FieldrigError):
        console.expect("never", within="60s")


def blocked_on_messages() -> None:
    started.wait()
    with contextlib.suppress(FieldrigError):
        watch.expect("never", within="60s")


for work in (busy, blocked_on_console, blocked_on_messages):
    threading.Thread(target=work, daemon=True).start()
started.wait()


class Cycle:
    """Holds a rig and itself: only the collector ends it."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.device = modbus.Device(rig=self.rig)
        self.client = modbus.Client(self.device.url, rig=self.rig)
        self.me = self


def fail() -> None:
    """An exception that nobody catches."""
    raise RuntimeError("at the end")


cycle = Cycle()
way = sys.argv[1]
if way == "collected":
    del cycle
    gc.collect()
elif way == "raise-at-exit":
    atexit.register(fail)
print("leaving", flush=True)
if way == "raise":
    fail()
elif way == "exit":
    sys.exit(3)
