"""What a process holds: threads, open files, children. Tests compare it before and after."""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

TASKS = Path("/proc/self/task")
LIMIT = 10.0
"""How long, in seconds, the kernel may take to forget a thread that was joined: there is no event for it."""


def held() -> Counter[str]:
    """Everything this process holds, by kind: `thread fr-line-x`, `file /dev/ptmx`, `child 4711`."""
    found: Counter[str] = Counter()
    for task in TASKS.iterdir():
        with contextlib.suppress(OSError):  # it ended meanwhile
            found[f"thread {(task / 'comm').read_text().strip()}"] += 1
            found.update(f"child {pid}" for pid in (task / "children").read_text().split())
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that listed the folder
            found[f"file {os.readlink(f'/proc/self/fd/{entry}').partition(':')[0]}"] += 1
    return found


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """What the block opened is gone at its end: no thread, file, pty, socket or process more than before."""
    gc.collect()
    before = held()
    yield
    end = time.monotonic() + LIMIT
    while (more := held() - before) and time.monotonic() < end:
        # More than once: what is native is not seen by the collector, and so ends only in a second round.
        gc.collect()
    assert not more, f"left behind: {dict(more)}"
