"""Joins two ports with a line between them, at the speed of the line.

Example: fieldrig bridge pty://?link=/tmp/meter unix:///tmp/qemu.sock --line 9600+8E1

Prints where others find the ports, and runs until Ctrl-C ends it or a port is gone. A port that listens
(`unix-listen://`, `tcp-listen://`, `rfc2217-listen://`) takes one connection at a time. --fault disturbs the line, and
may be given more than once: `bits,p=1e-5`, `drop,p=0.01,direction=responses`, `delay,delay=5ms`; what struck is in the
run log of --out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from .. import _core
from ..bridge import Bridge
from ..errors import PortError, UsageError
from ..link import Fault
from .exits import Exit
from .output import Output

_POLL = "100ms"


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


_KEYS: dict[str, Callable[[str], object]] = {
    "p": float,
    "count": _natural,
    "after": _natural,
    "direction": str,
    "delay": str,
}


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("left", metavar="LEFT", help="URL of the one port, where who asks is")
    parser.add_argument("right", metavar="RIGHT", help="URL of the other port, where who answers is")
    parser.add_argument(
        "--line", metavar="LINE", help='speed and format, such as "9600 8E1" or 9600+8E1; none: no pace'
    )
    parser.add_argument("--duplex", choices=("full", "half"), default="full", help="conductors: two, or one for both")
    parser.add_argument("--echo", action="store_true", help="half duplex: the left side hears itself")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME[,KEY=VALUE..]",
        help="disturb the line: p, count, after, direction (requests: from left to right, responses), delay",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="what faults are drawn from")
    parser.add_argument("--for", dest="length", metavar="TIME", help='end after this time, such as "10s"')
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep run log and trace here")


def run(options: argparse.Namespace, output: Output) -> int:
    """Runs the bridge until it is told to end."""
    length = _core.duration(options.length) if options.length is not None else None
    line = options.line.replace("+", " ") if options.line is not None else None
    with (
        _core.Rig(folder=options.out, name="bridge") as rig,
        Bridge(
            options.left,
            options.right,
            line=line,
            duplex=options.duplex,
            echo=options.echo,
            seed=options.seed,
            rig=rig,
        ) as bridge,
    ):
        for text in options.fault:
            disturb(bridge, text)
        for side, port in (("left", bridge.left), ("right", bridge.right)):
            output.record("port", side=side, url=port.url, address=port.address)
            output.say(f"{side}: {port.url}")
        begun = rig.now().latest
        while length is None or rig.now().latest - begun < length:
            rig.sleep(_POLL)
            if bridge.lost is not None:
                raise PortError(f"the bridge is broken: {bridge.lost}")
    return Exit.PASS


def disturb(bridge: Bridge, text: str) -> None:
    """Sets a fault that is written as ``NAME,KEY=VALUE,..``.

    Raises:
        UsageError: there is no such fault or key, or a value does not fit.
    """
    name, *pairs = text.split(",")
    given: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if key not in _KEYS or not equals or key in given:
            problem = "is given twice" if key in given else f"is not one of {', '.join(f'{key}=' for key in _KEYS)}"
            raise UsageError(f"--fault {text}: `{pair}` {problem}")
        try:
            given[key] = _KEYS[key](value)
        except ValueError as error:
            raise UsageError(f"--fault {text}: `{value}` is no value of {key}=") from error
    try:
        bridge.fault(cast(Fault, name), **given)
    except UsageError as error:
        error.message = f"--fault {text}: {error.message}"
        raise
