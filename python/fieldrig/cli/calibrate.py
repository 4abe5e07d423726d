"""Measures how finely a serial port tells time, and keeps it for every later run.

Example: fieldrig calibrate /dev/ttyUSB0
         fieldrig calibrate usb:0403:6001:FT4XK2 /dev/ttyUSB1 --line "9600 8E1"

One port needs a jumper from its TX to its RX; two are joined crosswise, and both are measured. What is kept says how
long bytes may be held back before anybody sees them: stamps of later runs are as uncertain as that, and what is finer
than twice of it is not judged. It is used as long as adapter, driver, latency timer and kernel are the same, on lines
that are not slower.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from .exits import Exit
from .output import Output

if TYPE_CHECKING:
    from ..calibrate import Measured


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument(
        "port",
        nargs="*",
        metavar="PORT",
        help="a device node, or usb:VID:PID[:SERIAL]; a URL is measured, but not kept",
    )
    parser.add_argument("--line", default="115200 8N1", metavar="TEXT", help='speed and format (default: "115200 8N1")')
    parser.add_argument("--rounds", type=int, default=200, metavar="N", help="rounds for each figure (default: 200)")
    parser.add_argument("--list", action="store_true", help="print what is kept, and whether it is still used")


def run(options: argparse.Namespace, output: Output) -> int:
    """Measures, or lists."""
    from .._core.timing import calibration_file

    file = calibration_file()
    if file is None:
        raise UsageError("there is no place to keep it", hint="set HOME, or FIELDRIG_CALIBRATION to the name of a file")
    if options.list:
        return _list(file, output)
    if not 1 <= len(options.port) <= 2:
        raise UsageError("calibrate takes one port with a jumper, or two that are joined", hint="fieldrig ports")
    if any(port.startswith("serial://") for port in options.port):
        raise UsageError("name the port, not its URL", hint="its device node, or usb:VID:PID; --line says the speed")
    _character_ns(options.line)
    if options.rounds < 100:
        raise UsageError(f"--rounds {options.rounds}: 99 % of less than 100 rounds says nothing")
    for out, back in {(options.port[0], options.port[-1]): 0, (options.port[-1], options.port[0]): 0}:
        _measure(out, back, options, file, output)
    return Exit.PASS


def _measure(out: str, back: str, options: argparse.Namespace, file: Path, output: Output) -> None:
    from .._core import Rig, Span
    from ..calibrate import measure, watcher
    from ..stream import Stream

    with ExitStack() as stack:
        rig = stack.enter_context(Rig())
        sender = stack.enter_context(Stream(_url(out, options.line), rig=rig))
        receiver = sender if back == out else stack.enter_context(Stream(_url(back, options.line), rig=rig))
        found = measure(
            sender,
            receiver,
            character_ns=_character_ns(options.line),
            pause=lambda nanos: rig.sleep(Span(nanos)),
            rounds=options.rounds,
            stalled=watcher(rig),
            tell=lambda text: output.progress(f"{back}: {text}"),
        )
        output.progress("")
    _tell(back, found, options, file, output)


def _tell(port: str, found: Measured, options: argparse.Namespace, file: Path, output: Output) -> None:
    from .._core.timing import store_calibration
    from ..units import human

    local = "://" not in port
    delays = [human(found.delay_ns(share)) for share in (0.5, 0.99, 1)]
    output.say(f"{port} at {options.line}, {options.rounds} rounds for each figure, {found.left_out} left out")
    output.say(f"  arrival delay: {delays[0]} in the middle, {delays[1]} at 99 %, {delays[2]} at most")
    output.say(f"  smallest gap that can be told from none at 99 %: {human(found.gap_ns)}")
    output.say(
        f"  resolution: {human(found.resolution_ns)}; nothing finer than {human(2 * found.resolution_ns)} is judged"
    )
    if local:
        store_calibration(
            file,
            port,
            resolution_ns=found.resolution_ns,
            delay_ns=found.delay_ns(0.5),
            line=options.line,
            rounds=options.rounds,
        )
        output.say(f"  kept in {file}")
    else:
        output.say("  not kept: only serial ports of this machine are")
    output.record(
        "calibration",
        port=port,
        line=options.line,
        rounds=options.rounds,
        left_out=found.left_out,
        delay_p50_ns=found.delay_ns(0.5),
        delay_p99_ns=found.delay_ns(0.99),
        delay_max_ns=found.delay_ns(1),
        gap_ns=found.gap_ns,
        resolution_ns=found.resolution_ns,
        file=str(file) if local else None,
    )


def _list(file: Path, output: Output) -> int:
    from .._core.timing import calibrations
    from ..units import human

    rows = []
    for one in calibrations(file):
        rows.append((one.port, human(one.resolution_ns), one.line, one.unused or "used"))
        output.record("calibration", port=one.port, resolution_ns=one.resolution_ns, line=one.line, unused=one.unused)
    output.table(rows, ["port", "resolution", "line", ""])
    if not rows:
        output.say(f"nothing is kept in {file}")
    return Exit.PASS


def _url(port: str, line: str) -> str:
    return port if "://" in port else f"serial://{port}?line={line.replace(' ', '+')}"


def _character_ns(line: str) -> int:
    """How long a character takes on a line such as `9600 8E1`: start bit, data, parity, stop bits."""
    speed, _, form = line.partition(" ")
    if not speed.isdecimal() or len(form) != 3 or not form[0].isdecimal() or not form[2].isdecimal() or not int(speed):
        raise UsageError(f"{line!r} is no line setting", hint='write speed and format, such as --line "9600 8E1"')
    bits = 1 + int(form[0]) + (form[1].upper() != "N") + int(form[2])
    return bits * 1_000_000_000 // int(speed)
