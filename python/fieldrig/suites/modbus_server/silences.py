"""The times of a serial line (SL 2.5.1.1), as the suite knows them by itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

BITS = 11
"""Of a character, whatever the format: the standard counts silences in characters of 11 bits."""
FIXED_ABOVE = 19_200
"""Above this speed the silences do not shrink any more."""


@dataclass(frozen=True)
class Silences:
    """In seconds."""

    character: float
    """Time of one character on the line."""
    inside: float
    """t1.5: the longest silence within a frame."""
    between: float
    """t3.5: the shortest silence between frames."""


LINE = re.compile(r"([1-9]\d*) ([5-8])([NEOMS])(1|1\.5|2)")


def silences(line: str) -> Silences:
    """Those of a line such as `"9600 8E1"`. Raises `ValueError`."""
    found = LINE.fullmatch(line)
    if found is None:
        raise ValueError(f"{line!r} is no line")
    speed, bits = int(found[1]), 1 + int(found[2]) + (found[3] != "N") + float(found[4])
    if speed > FIXED_ABOVE:
        return Silences(bits / speed, 750e-6, 1750e-6)
    return Silences(bits / speed, 1.5 * BITS / speed, 3.5 * BITS / speed)
