"""Errors that the drivers of serial ports counted during a test: framing, parity, overruns, breaks.

Rules of this file:

- A bench whose own line had errors during a test proves nothing against the device: a fail becomes inconclusive, and
  what the test said is a note of that. What passed, passed: the errors did not matter to it.
- A measurement that failed is held to the same rule: what was measured came over that line.
- Ports that belong to the device judge nobody: a device that resets, or has no power, makes breaks and broken bytes.
- A port whose driver does not count (a pty) is never called clean: the summary says that it is not known.
- A break is an error here: a wire that is cut, or shorted, looks like one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

from .state import LINES, bench_of

if TYPE_CHECKING:
    from fieldrig._core import LineCounts
    from fieldrig.bench import Bench
    from fieldrig.errors import InconclusiveError

NOT_IOCTL = "Inappropriate ioctl for device"
"""What Linux says of a driver that has no counts (ENOTTY), such as that of a pty."""
NO_COUNTS = "the driver counts no errors"
KINDS = {
    "framing": "framing error",
    "parity": "parity error",
    "overrun": "overrun",
    "breaks": "break",
    "buffer_overrun": "buffer overrun",
}
"""What is counted, with its word in reports."""


def begin(item: pytest.Item, opened: Bench) -> None:
    """A test begins: what was counted so far is not of it."""
    item.stash[LINES] = counted(opened)


def counted(opened: Bench) -> dict[str, LineCounts]:
    """What is known of each port, by its name."""
    return {counts.port: counts for counts in opened.rig.line_counts()}


def grown(before: Mapping[str, LineCounts], now: Mapping[str, LineCounts]) -> dict[str, str]:
    """In words, the errors that were counted since, by port; ports that do not count, or had none, are left out."""
    found = {}
    for port, counts in now.items():
        if counts.unknown is not None:
            continue
        known = before.get(port)
        parts = []
        for kind, word in KINDS.items():
            count = getattr(counts, kind) - (getattr(known, kind) if known is not None else 0)
            if count:
                parts.append(f"{count} {word}{'' if count == 1 else 's'}")
        if parts:
            found[port] = ", ".join(parts)
    return found


def of_test(item: pytest.Item) -> dict[str, str]:
    """In words, the errors since the test began, by port."""
    opened = bench_of(item.config)
    # The test that opens the bench has no count of before: everything is of it.
    before: dict[str, LineCounts] = item.stash.get(LINES, {})
    return grown(before, counted(opened)) if opened is not None else {}


def doubt(item: pytest.Item) -> InconclusiveError | None:
    """Why a test that fails proves nothing: errors on a line that belongs to the bench. None if there were none."""
    from fieldrig.errors import InconclusiveError

    opened = bench_of(item.config)
    if opened is None:
        return None
    errors = {port: text for port, text in of_test(item).items() if not opened.is_of_device(port)}
    if not errors:
        return None
    text = "; ".join(f"{port}: {words}" for port, words in errors.items())
    return InconclusiveError(
        f"the line had errors during the test, so it proves nothing against the device: {text}",
        hint="look at wiring, ground, termination, speed and format; `fieldrig ports` tells who else has the port",
    )


def properties(item: pytest.Item) -> list[tuple[str, str]]:
    """What a report says about the lines of a test: name and value."""
    return [("line_errors", f"{port}: {words}") for port, words in of_test(item).items()]


def summary(opened: Bench) -> str:
    """What a run says about its lines; empty if it had no real serial port."""
    found = counted(opened)
    bad = grown({}, found)
    parts = [f"{port}: {words}" for port, words in bad.items()]
    silent: dict[str, list[str]] = {}
    for port, one in found.items():
        if one.unknown is not None:
            silent.setdefault(NO_COUNTS if NOT_IOCTL in one.unknown else one.unknown, []).append(port)
    parts += [f"{', '.join(ports)}: not counted ({reason})" for reason, ports in silent.items()]
    return "; ".join(parts) or ("none" if found else "")
