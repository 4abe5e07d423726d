"""Keeps a program that is a device: it ends when its run ends, however that ends.

``keeper.py LEFT PROGRAM ARGUMENT..`` is started by `program.Program` in a session of its own, so that Ctrl-C reaches
neither it nor the program. It says on standard output with which process id the program runs (``pid 4711``) or why it
does not (``no ..``), and later how it ended (``ended 3``, ``ended -9`` by signal 9). It ends the program, and all that
the program started, when its standard input ends or the process that started it does: when the run closes it, or dies.
What went into the background comes to the keeper as its child (PR_SET_CHILD_SUBREAPER, prctl(2)), and ends, too. Then
it takes away what LEFT names: a JSON list of sockets, and of the folders made for them. If the keeper itself is killed,
the kernel ends the program (PR_SET_PDEATHSIG), but nothing that it started.

What the program says goes into the file that is the keeper's standard error: the first `HEAD` bytes, and at least the
last `TAIL`; between them stands how much was left out. A program that says much more than is of use fills no disk.

It needs nothing of fieldrig, and starts within milliseconds.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = 2.0
"""So many seconds the program has to end by itself (SIGTERM)."""
HEAD = TAIL = 1 << 20
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


class Log:
    """A file that keeps the beginning and the end of what is written to it.

    Args:
        file: its descriptor, for reading and appending; what stands in it already stays.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._head_ends = os.fstat(file).st_size + HEAD
        self._tail_begins = self._head_ends  # behind the remark, once there is one
        self._left_out = 0

    def write(self, data: bytes) -> None:
        """Appends; a full disk ends nothing."""
        with contextlib.suppress(OSError):
            os.write(self._file, data)
            size = os.fstat(self._file).st_size
            if size > self._tail_begins + 2 * TAIL:
                tail = os.pread(self._file, TAIL, size - TAIL)
                self._left_out += size - TAIL - self._tail_begins
                remark = f"\n[fieldrig: {self._left_out} bytes are left out here]\n".encode()
                os.ftruncate(self._file, self._head_ends)
                os.write(self._file, remark + tail)
                self._tail_begins = self._head_ends + len(remark)


class Keeper:
    """Waits for the end of a program, and writes down what it says meanwhile."""

    def __init__(self, program: int, says: int) -> None:
        self._ended = os.pidfd_open(program)
        self._says = says
        self._log = Log(2)
        self._poll = select.poll()
        self._poll.register(self._ended, select.POLLIN)
        self._poll.register(says, select.POLLIN)

    def wait(self, others: list[int], seconds: float | None = None) -> None:
        """Until the program has ended, one of the others has something to say, or the time is over."""
        deadline = None if seconds is None else time.monotonic() + seconds
        for other in others:
            self._poll.register(other, select.POLLIN)
        wanted = {self._ended, *others}
        while deadline is None or time.monotonic() < deadline:
            left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            ready = {descriptor for descriptor, _ in self._poll.poll(left)}
            if self._says in ready and not self._write_down():
                self._poll.unregister(self._says)
            if ready & wanted:
                break
        for other in others:
            self._poll.unregister(other)

    def drain(self) -> None:
        """What it said last."""
        os.set_blocking(self._says, False)
        with contextlib.suppress(BlockingIOError):
            while self._write_down():
                pass

    def _write_down(self) -> int:
        data = os.read(self._says, 1 << 16)
        if data:
            self._log.write(data)
        return len(data)


def main() -> int:
    """Starts the program, and ends it."""
    libc = ctypes.CDLL(None)  # loaded before the fork
    own = os.getpid()
    run = os.pidfd_open(os.getppid())
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    says, said = os.pipe()

    def tied() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != own:
            os._exit(1)

    try:
        program = subprocess.Popen(
            sys.argv[2:], stdin=subprocess.DEVNULL, stdout=said, stderr=said, process_group=0, preexec_fn=tied
        )
    except (OSError, ValueError) as error:
        os.write(1, f"no {error}\n".encode())
        return 1
    os.close(said)
    os.write(1, f"pid {program.pid}\n".encode())
    keeper = Keeper(program.pid, says)
    keeper.wait([0, run])  # nothing is ever written to standard input: what comes is its end
    signalled(program.pid, signal.SIGTERM)
    keeper.wait([], PATIENCE)
    signalled(program.pid, signal.SIGKILL)
    code = program.wait()
    end_orphans()
    keeper.drain()
    with contextlib.suppress(OSError):  # a run that is gone hears nothing
        os.write(1, f"ended {code}\n".encode())
    for path in json.loads(sys.argv[1]):
        take_away(path)
    return 0 if code == 0 else 1


def end_orphans() -> None:
    """Ends what the program has started and left behind, until nothing is left of it (proc(5), children)."""
    with contextlib.suppress(OSError):
        while children := Path("/proc/thread-self/children").read_text(encoding="ascii").split():
            for child in map(int, children):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)


def take_away(path: str) -> None:
    """Removes a socket, or a folder in which nothing is left; anything else stays."""
    with contextlib.suppress(OSError):
        found = os.lstat(path).st_mode
        if stat.S_ISSOCK(found):
            os.unlink(path)
        elif stat.S_ISDIR(found):
            os.rmdir(path)


def signalled(group: int, number: signal.Signals) -> None:
    """Sends a signal to the process group; one that is gone already is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main())
