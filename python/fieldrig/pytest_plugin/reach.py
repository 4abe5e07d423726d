"""Which timing class the lines of a run can have on this host, for the header; reports say which one they had."""

from __future__ import annotations

import os
import threading

PRIORITY = 50
"""That of a line thread (`drive/ladder.rs`)."""


def header(virtual: bool) -> str:
    """One line about the timing class; on a bench with virtual time it is V."""
    if virtual:
        return "fieldrig: timing class V: virtual time, every instant is exact"
    if _real_time():
        return "fieldrig: timing class A within reach: lines get real-time scheduling here"
    return "fieldrig: timing class B or C: no real-time scheduling here, `fieldrig doctor` says what to add"


def _real_time() -> bool:
    """Whether a thread may have it: one tries, and ends."""
    allowed = False

    def attempt() -> None:
        nonlocal allowed
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
            allowed = True
        except (OSError, AttributeError):
            pass  # not allowed, or no such thing on this system

    thread = threading.Thread(target=attempt, name="fieldrig-reach")
    thread.start()
    thread.join()
    return allowed
