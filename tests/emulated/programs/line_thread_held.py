"""Judges a device while its line thread alone is held; all other threads of this process go on. Prints JSON.

The argument says what asks the device, which is an emulated one of this process on a pty with a thread of its own:
`modbus` (a request that times out meanwhile), `within` (an answer that comes late), `console` (an expectation),
`modbus free` and `console free`: the same while nobody is held, so that the device is to be judged.
Who holds the thread is a process of its own (ptrace(2): PTRACE_SEIZE, PTRACE_INTERRUPT); `refused` if it may not.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from fieldrig import Rig, modbus, timing
from fieldrig.errors import DutError, InconclusiveError
from fieldrig.serial import Console
from fieldrig.stream import Stream

# Holds a thread from when it says so until it reads a line, or for as long as its second argument says (seconds).
HOLDER = """
import ctypes, os, select, sys
SEIZE, INTERRUPT, DETACH, ANY_THREAD = 0x4206, 0x4207, 17, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
thread, length = int(sys.argv[1]), float(sys.argv[2])
if libc.ptrace(SEIZE, thread, None, None) or libc.ptrace(INTERRUPT, thread, None, None):
    sys.exit(print("refused: " + os.strerror(ctypes.get_errno()), flush=True))
os.waitpid(thread, ANY_THREAD)
print("held", flush=True)
select.select([sys.stdin], [], [], length)
libc.ptrace(DETACH, thread, None, None)
"""


def line_thread() -> int:
    """The thread of this process that owns the only line so far; it names itself once it runs."""
    while True:
        for path in Path("/proc/self/task").iterdir():
            if (path / "comm").read_text().startswith("fr-line-"):
                return int(path.name)
        os.sched_yield()


@contextlib.contextmanager
def held(thread: int, length_s: float) -> Iterator[None]:
    """While this runs, or for so long, the thread does not."""
    command = [sys.executable, "-c", HOLDER, str(thread), str(length_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        said = holder.stdout.readline().strip()
        if said != "held":
            print(json.dumps({"refused": said}), flush=True)
            sys.exit()
        try:
            yield
        finally:
            with contextlib.suppress(BrokenPipeError):
                holder.stdin.close()
            holder.wait()


def tell(judge: Callable[[], object]) -> None:
    word, why = "pass", ""
    try:
        judge()
    except InconclusiveError as error:
        word, why = "inconclusive", str(error)
    except DutError as error:
        word, why = "fail", str(error)
    print(json.dumps({"verdict": word, "why": why}), flush=True)


@contextlib.contextmanager
def asked(kind: str, rig: Rig) -> Iterator[tuple[int, Callable[[], object]]]:
    """The thread of the device, and what asks it."""
    url = "pty://?line=115200+8N1"
    if kind == "console":
        with Stream(url, rig=rig) as silent:
            thread = line_thread()
            with Console(silent.url, rig=rig) as console:
                yield thread, lambda: console.expect("ready", after=console.send("go"), within="100ms")
        return
    with modbus.Device(url=url, holding={0: [7]}, rig=rig) as device:
        thread = line_thread()
        with modbus.Client(device.url, rig=rig, timeout="10s") as client:

            def judged() -> object:
                answer = client.read_holding(0)
                return timing.within(answer.done, "100ms", after=answer)

            if kind == "modbus":
                # Who never answered would not be accused in any case.
                client.read_holding(0)
            yield thread, judged if kind == "within" else partial(client.read_holding, 0, timeout="100ms")


def main(kind: str, free: bool) -> None:
    with Rig() as rig, asked(kind, rig) as (thread, ask):
        if free:
            return tell(ask)
        with held(thread, 0.3 if kind == "within" else 30):
            tell(ask)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] == ["free"])
