"""Waiting for something to read, however many descriptors the process has: `select` ends at number 1023."""

from __future__ import annotations

import select
from collections.abc import Sequence
from typing import Protocol, TypeVar


class Readable(Protocol):
    """A socket, a file, a pipe."""

    def fileno(self) -> int:
        """Its descriptor."""


Source = TypeVar("Source", bound=Readable | int)


def readable(sources: Sequence[Source], within: float) -> list[Source]:
    """Those that have something to read, or have ended, `within` seconds; none if nothing came.

    Raises ValueError for one that is closed.
    """
    poll = select.poll()
    for source in sources:
        poll.register(_descriptor(source), select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll(max(within, 0.0) * 1000)}
    return [source for source in sources if _descriptor(source) in ready]


def _descriptor(source: Readable | int) -> int:
    return source if isinstance(source, int) else source.fileno()
