"""Joins two ports with a line between them, at the speed of the line.

Example: fieldrig bridge pty://?link=/tmp/meter unix:///tmp/qemu.sock --line 9600+8E1

Prints where others find the ports, and runs until Ctrl-C ends it or a port is gone. A port that listens
(`unix-listen://`, `tcp-listen://`, `rfc2217-listen://`) takes one connection at a time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import _core
from ..bridge import Bridge
from ..errors import PortError
from .exits import Exit
from .output import Output

_POLL = "100ms"


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("left", metavar="LEFT", help="URL of the one port, where who asks is")
    parser.add_argument("right", metavar="RIGHT", help="URL of the other port, where who answers is")
    parser.add_argument(
        "--line", metavar="LINE", help='speed and format, such as "9600 8E1" or 9600+8E1; none: no pace'
    )
    parser.add_argument("--duplex", choices=("full", "half"), default="full", help="conductors: two, or one for both")
    parser.add_argument("--for", dest="length", metavar="TIME", help='end after this time, such as "10s"')
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep run log and trace here")


def run(options: argparse.Namespace, output: Output) -> int:
    """Runs the bridge until it is told to end."""
    length = _core.duration(options.length) if options.length is not None else None
    line = options.line.replace("+", " ") if options.line is not None else None
    with (
        _core.Rig(folder=options.out, name="bridge") as rig,
        Bridge(options.left, options.right, line=line, duplex=options.duplex, rig=rig) as bridge,
    ):
        for side, port in (("left", bridge.left), ("right", bridge.right)):
            output.record("port", side=side, url=port.url, address=port.address)
            output.say(f"{side}: {port.url}")
        begun = rig.now().latest
        while length is None or rig.now().latest - begun < length:
            rig.sleep(_POLL)
            if bridge.lost is not None:
                raise PortError(f"the bridge is broken: {bridge.lost}")
    return Exit.PASS
