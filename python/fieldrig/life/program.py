"""A program that is the device, such as an emulator with real firmware: started for a run, and ended with it.

::

    run = { command = "qemu-system-arm .. -serial unix:${FIELDRIG_DIR}/console,server=on,wait=off" }

Rules of this file:

- It is started before any link of the bench is opened, and is there once every unix socket that the bench file names
  for the device (ports of its links, ``qmp``) takes connections. What it says stands in ``NAME.log`` in the folder of
  the run: its beginning and its end, if it is much.
- It ends when the bench is closed, and when the run dies: a keeper (`keeper.py`) sees to that.
- It is a process on a shared host. A wait for a CPU that is longer than ``stall`` is one of the stalls of the run: what
  is late or missing then is held against nobody.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BenchError
from ..units import human, nanoseconds
from . import keeper
from .safe import readable

if TYPE_CHECKING:
    from .._core import Rig

LOOK_AGAIN = 0.005
"""Between two looks whether its sockets are there lie so many seconds: the kernel has no event for it."""
LONGEST_PATH = 107
"""What fits into the address of a unix socket, in bytes (unix(7))."""
LISTENS = 1 << 16
"""The flag of a socket in /proc/net/unix that takes connections (__SO_ACCEPTCON)."""
LAST_LINES = 3
LAST_BYTES = 1000
ENDING = 0.5
"""A program that has closed its sockets has so many seconds to be gone: the kernel does one after the other."""
TELLING = 10.0
"""So many seconds the keeper has to say how a program ended that has ended; it does so at once."""
GIVEN_UP = 15.0
"""A keeper that is not gone after so many seconds is killed, and the program with it."""
FOREGROUND = "it has to stay in the foreground: what it leaves in the background is ended with it"


class Program:
    """The program of one device.

    Args:
        name: the device.
        table: the checked ``run`` of the bench file.
        sockets: the paths of the unix sockets that it makes.
        folder: where it runs: that of the bench file.
        log: the file for what it says.
        rig: the run.
    """

    def __init__(
        self, name: str, table: Mapping[str, Any], sockets: Sequence[str], folder: Path, log: Path, rig: Rig
    ) -> None:
        self._name = name
        self._command = str(table["command"])
        self._limit = nanoseconds(str(table["timeout"]), "timeout")
        self._stall = str(table["stall"])
        self._sockets = tuple(sockets)
        self._folder = folder
        self._log = log
        self._rig = rig
        self._keeper: subprocess.Popen[bytes] | None = None
        self._made: list[Path] = []
        self._status: str | None = None
        self._ended = -1  # a descriptor of the process: readable once it has ended
        self.process = 0
        """Its process id."""

    def start(self) -> None:
        """Starts it, and returns when its sockets take connections.

        Raises:
            BenchError: it cannot be started, ends, or its sockets do not appear in time.
        """
        deadline = time.monotonic() + self._limit / 1e9
        self._make_folders()
        try:
            self._status, self.process = None, 0
            self._keeper = self._started()
            self.process = self._told(self._keeper, deadline)
            with contextlib.suppress(ProcessLookupError):
                self._ended = os.pidfd_open(self.process)
            self._wait_for_sockets(deadline)
        except BaseException:
            self.stop()
            raise
        if self.runs():
            self._rig.watch_program(self.process, self._stall)
        self._rig.log("program", device=self._name, pid=self.process, command=self._command)

    def runs(self, wait: float = 0) -> bool:
        """Whether it is there; one that is about to end has so many seconds to do so."""
        return self._ended >= 0 and not readable(self._ended, wait)

    def why_ended(self, wait: float = 0) -> str | None:
        """How it ended, and what it said last, if it has ended by itself, or does within a time (s); None if not."""
        if self._keeper is None or not self.process or self.runs(wait):
            return None
        return f"the program `{self._command}` has ended {self._how()}: {self._last_words()}"

    def _how(self) -> str:
        """``with exit status 3``, ``by signal 9 (SIGKILL)``: as the keeper tells it."""
        out = self._keeper.stdout if self._keeper is not None else None
        if self._status is None and out is not None:
            told = out.readline() if readable(out, TELLING) else b""
            word, _, code = told.decode(errors="replace").strip().partition(" ")
            self._status = _in_words(int(code)) if word == "ended" else "and its keeper does not say how"
        return str(self._status)

    def stop(self) -> None:
        """Ends it, and takes away its sockets; one that has ended is fine."""
        kept, self._keeper = self._keeper, None
        if kept is not None:
            had_ended = not self.runs()
            how = ""
            if had_ended and self.process:
                self._keeper = kept
                how, self._keeper = self._how(), None
            for pipe in (kept.stdin, kept.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            try:
                kept.wait(GIVEN_UP)
            except subprocess.TimeoutExpired:  # it was stopped, or the program cannot be killed
                kept.kill()
                kept.wait()
            if self._ended >= 0:
                os.close(self._ended)
                self._ended = -1
            self._rig.log("program.ended", device=self._name, pid=self.process, by_itself=had_ended, how=how)
            for path in self._sockets:
                _remove_socket(path)
        while self._made:
            with contextlib.suppress(OSError):  # what else the program left there is not ours
                self._made.pop().rmdir()

    def _started(self) -> subprocess.Popen[bytes]:
        words = shlex.split(self._command)
        left = json.dumps([*self._sockets, *map(str, self._made)])
        try:
            with self._log.open("a+b") as said:
                return subprocess.Popen(
                    [sys.executable, "-I", "-S", keeper.__file__, left, *words],
                    bufsize=0,  # of what it says, nothing waits in a buffer where no poll sees it
                    cwd=self._folder,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    start_new_session=True,
                )
        except OSError as error:
            raise self._error(f"cannot be started: {error}") from None

    def _told(self, kept: subprocess.Popen[bytes], deadline: float) -> int:
        """The process id of the program, as the keeper tells it."""
        assert kept.stdout is not None  # asked for above
        if not readable(kept.stdout, max(0.0, deadline - time.monotonic())):
            raise self._error(f"was not started within {human(self._limit)}")
        word, _, rest = kept.stdout.readline().decode(errors="replace").strip().partition(" ")
        if word != "pid":
            raise self._error(f"cannot be started: {rest or 'its keeper says nothing'}")
        return int(rest)

    def _wait_for_sockets(self, deadline: float) -> None:
        missing = list(self._sockets)
        while missing := [path for path in missing if not _listens(path)]:
            if not self.runs():
                raise self._error(f"has ended {self._how()}: {self._last_words()}", hint=FOREGROUND)
            if time.monotonic() >= deadline:
                raise self._error(f"has no socket {missing[0]} after {human(self._limit)}: {self._last_words()}")
            time.sleep(LOOK_AGAIN)

    def _make_folders(self) -> None:
        """The folders of the sockets, for nobody else; sockets that somebody left there are gone."""
        for path in self._sockets:
            length = len(os.fsencode(path))
            if length > LONGEST_PATH:
                message = f"the path of a unix socket has {LONGEST_PATH} bytes at most, and this has {length}: {path}"
                raise BenchError(f"{self._name}: {message}", hint="put it into ${FIELDRIG_DIR}")
            folder = Path(path).parent
            try:
                if not folder.exists():
                    folder.mkdir(mode=0o700)
                    self._made.append(folder)
                elif not self._is_ours(folder):
                    raise BenchError(f"{self._name}: the folder of its sockets belongs to somebody else: {folder}")
            except OSError as error:
                raise BenchError(f"{self._name}: the folder of its sockets cannot be made: {error}") from None
            if _listens(path):
                raise BenchError(f"{self._name}: somebody else has its socket: {path}")
            _remove_socket(path)

    @staticmethod
    def _is_ours(folder: Path) -> bool:
        """Whether nobody else could have put a socket there in our place."""
        found = folder.lstat()
        safe = not found.st_mode & stat.S_IWOTH or found.st_mode & stat.S_ISVTX
        return stat.S_ISDIR(found.st_mode) and (found.st_uid == os.geteuid() or bool(safe))

    def _last_words(self) -> str:
        with contextlib.suppress(OSError), self._log.open("rb") as log:
            log.seek(-min(LAST_BYTES, os.fstat(log.fileno()).st_size), os.SEEK_END)
            lines = log.read().decode(errors="replace").rstrip().splitlines()
            if lines:
                return " / ".join(line.strip() for line in lines[-LAST_LINES:])
        return "it said nothing"

    def _error(self, problem: str, hint: str | None = None) -> BenchError:
        return BenchError(f"{self._name}: the program `{self._command}` {problem}", hint=hint)


def _in_words(code: int) -> str:
    if code >= 0:
        return f"with exit status {code}"
    try:
        return f"by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:  # a real-time signal
        return f"by signal {-code}"


def _listens(path: str) -> bool:
    """Whether somebody takes connections at a unix socket; asked of the kernel, since a connection would be noticed."""
    with open("/proc/net/unix", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            parts = line.rstrip("\n").split(None, 7)
            if len(parts) == 8 and parts[7] == path and int(parts[3], 16) & LISTENS:
                return True
    return False


def _remove_socket(path: str) -> None:
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
