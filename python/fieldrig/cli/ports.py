"""Lists the serial ports that are plugged in or built in, and who has them.

Example: fieldrig ports

The name of a USB adapter (`usb:0403:6001:FT4XK2`) stays the same wherever it is plugged in: write it into the bench
file instead of `/dev/ttyUSB0`. `usb:1-4.2` names whatever is plugged in at that place. "collects" is what a port waits
for before it hands bytes over: no stamp of theirs can be finer. Nothing is opened.
"""

from __future__ import annotations

import argparse
import os

from .. import _core
from .exits import Exit
from .output import Output


def add(parser: argparse.ArgumentParser) -> None:
    """No arguments of its own."""


def run(options: argparse.Namespace, output: Output) -> int:
    """Prints the table."""
    rows = []
    ports = _core.ports()
    names = [port.name for port in ports]
    for port in ports:
        name = port.name or ""
        if names.count(port.name) > 1 and port.interface:  # an adapter with several ports
            name += f":if{port.interface}"
        held = "; ".join(port.held_by)
        rows.append((port.path, port.kind, name, port.words, delay(port), held or nobody(port.path)))
        output.record(
            "port",
            path=port.path,
            type=port.kind,
            name=name,
            words=port.words,
            by_id=port.by_id,
            location=port.location,
            latency_timer=port.latency_timer,
            rx_trigger=port.rx_trigger,
            held_by=list(port.held_by),
        )
    output.table(rows, ["port", "type", "name", "what", "collects", "held by"])
    if not rows:
        output.say("no serial port is plugged in or built in")
    return Exit.PASS


def nobody(path: str) -> str:
    """What is known of a port of which no holder was found: only root sees the open files of all processes."""
    if os.geteuid() == 0:
        return "free"
    seen = "nobody that you may see"
    return seen if os.access(path, os.R_OK | os.W_OK) else f"{seen}; you may not open it"


def delay(port: _core.SerialPort) -> str:
    """For how long, or how many bytes, a port collects before it hands over; nothing if its driver does not tell."""
    if port.latency_timer is not None:
        return f"{port.latency_timer} ms"
    return f"{port.rx_trigger} bytes" if port.rx_trigger is not None else ""
