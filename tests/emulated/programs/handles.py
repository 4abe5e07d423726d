"""Programs around a handler, one for each case: what Ctrl-C and the end of the interpreter do."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from fieldrig import Rig, modbus
from fieldrig.errors import BenchError, ExceptionAnswer, FieldrigError
from fieldrig.model import watchdog


def spins(request: modbus.Request) -> modbus.Reply:
    while True:
        pass


def sleeps(request: modbus.Request) -> modbus.Reply:
    os.write(1, b"leaving\n")
    time.sleep(600)
    return None


def divides(request: modbus.Request) -> modbus.Reply:
    return [1 // 0]


def interrupts(request: modbus.Request) -> modbus.Reply:
    if request.address == 7:
        signal.raise_signal(signal.SIGINT)
        while True:
            pass
    return None


def interrupt_virtual() -> None:
    """Ctrl-C while the handler runs on the thread of the call."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rig = Rig(clock="virtual")
    device = modbus.Device("memory-listen://meter", holding={0: [1]}, handler=interrupts, rig=rig)
    client = modbus.Client(device.url, rig=rig)
    try:
        client.read_holding(7)
    except KeyboardInterrupt:
        print("interrupted")
    print(client.read_holding(0).values)
    device.close()


def interrupt_real() -> None:
    """Ctrl-C while the handler hangs on a thread of the rig."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asked = threading.Event()

    def hangs(request: modbus.Request) -> modbus.Reply:
        asked.set()
        return spins(request)

    device = modbus.Device(handler=hangs)
    client = modbus.Client(device.url, timeout="1h")

    def interrupt() -> None:
        asked.wait()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    try:
        client.read_holding(0)
    except KeyboardInterrupt:
        print("interrupted")
    watchdog.TICK = 0.02
    try:
        device.close()
    except BenchError as error:
        print("broken:", error.message.partition(": ")[2].partition(" of real")[0])


def ask_and_leave(device: modbus.Device) -> None:
    """Leaves the interpreter while the handler has a request."""

    def ask() -> None:
        try:
            modbus.Client(device.url, timeout="1h").read_holding(0)
        except FieldrigError:
            pass

    threading.Thread(target=ask, daemon=True).start()


def main(case: str) -> None:
    match case:
        case "interrupt-virtual":
            interrupt_virtual()
        case "interrupt-real":
            interrupt_real()
        case "exit-while-it-spins":
            watchdog.TICK = 0.02
            asked = threading.Event()

            def handler(request: modbus.Request) -> modbus.Reply:
                asked.set()
                return spins(request)

            ask_and_leave(modbus.Device(handler=handler))
            asked.wait()
            print("leaving")
        case "exit-while-it-sleeps":
            watchdog.TICK = 0.02
            asked = threading.Event()

            def sleeper(request: modbus.Request) -> modbus.Reply:
                asked.set()
                return sleeps(request)

            ask_and_leave(modbus.Device(handler=sleeper))
            asked.wait()
        case "nobody-closes":
            device = modbus.Device(handler=divides)
            with modbus.Client(device.url) as client:
                try:
                    client.read_holding(0)
                except ExceptionAnswer as error:
                    print("exception", error.facts["code"])


if __name__ == "__main__":
    main(sys.argv[1])
