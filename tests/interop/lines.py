"""A serial line without hardware: two ptys, what is written to one can be read from the other."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import threading
import tty
from collections.abc import Iterator


@contextlib.contextmanager
def line() -> Iterator[tuple[str, str]]:
    """Gives the paths of the two ends, as programs open them. They stay there however often either is opened."""
    pairs = [pty.openpty(), pty.openpty()]
    stop, stopped = os.pipe()
    for _, end in pairs:
        tty.setraw(end)  # kept open, so that neither side sees the other go
    (one, _), (other, _) = pairs
    thread = threading.Thread(target=_relay, args=(one, other, stop), name="line of two ptys")
    thread.start()
    try:
        yield os.ttyname(pairs[0][1]), os.ttyname(pairs[1][1])
    finally:
        os.write(stopped, b"\0")
        thread.join()
        for descriptor in (*pairs[0], *pairs[1], stop, stopped):
            os.close(descriptor)


def _relay(one: int, other: int, stop: int) -> None:
    """Passes bytes on until something is written to the pipe `stop`."""
    far = {one: other, other: one}
    while True:
        ready, _, _ = select.select([one, other, stop], [], [])
        if stop in ready:
            return
        for side in ready:
            os.write(far[side], os.read(side, 4096))
