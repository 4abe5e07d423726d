"""Ends models that never come back: `while True: pass` would hold up its device, and the end of the run, for ever.

One thread looks at all models once a tick; it raises `NeverReturns` in a thread that it finds in the same call for too
many ticks. Ticks, not seconds: a host that stood still for a minute is no fault of the model. Nothing can be done
about a call of C code that does not come back (`time.sleep`): it is ended when it returns. Under a debugger nobody is
hurried.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import sys
import threading
import time

#: One tick, in seconds.
TICK = 1.0
#: For how many ticks a model may run from one await to the next.
PATIENCE = 10


class NeverReturns(BaseException):
    """The model did not come to an await in time. No `Exception`: no model shall catch it by mistake."""

    def __str__(self) -> str:
        return f"the model ran for {PATIENCE * TICK:g} s of real time without coming to an await"


class _Watch:
    """Who is in a model, and the thread that looks."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.somebody = threading.Event()
        #: By thread: the number of its call.
        self.calls: dict[int, int] = {}
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        with self.lock:
            if self.thread is None:
                self.thread = threading.Thread(target=self.look, name="fieldrig-models", daemon=True)
                self.thread.start()

    def look(self) -> None:
        seen: dict[int, tuple[int, int]] = {}
        while True:
            self.somebody.wait()
            time.sleep(TICK)
            # With the lock: nobody is struck whose call is over.
            with self.lock:
                if not self.calls:
                    self.somebody.clear()
                seen = {thread: self.judge(thread, call, seen) for thread, call in self.calls.items()}

    def judge(self, thread: int, call: int, seen: dict[int, tuple[int, int]]) -> tuple[int, int]:
        known, ticks = seen.get(thread, (call, 0))
        if known != call:
            return call, 0
        if ticks < PATIENCE:
            return call, ticks + 1
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(NeverReturns))
        return call, 0


_watch = _Watch()
_numbers = itertools.count()


def _after_fork() -> None:
    global _watch
    _watch = _Watch()


os.register_at_fork(after_in_child=_after_fork)


def begin() -> None:
    """This thread goes into a model."""
    if sys.gettrace() is not None:
        return
    _watch.calls[threading.get_ident()] = next(_numbers)
    if _watch.thread is None:
        _watch.start()
    if not _watch.somebody.is_set():
        _watch.somebody.set()


def end() -> None:
    """This thread comes out of it."""
    with _watch.lock:
        _watch.calls.pop(threading.get_ident(), None)
