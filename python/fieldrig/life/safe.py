"""The safe state of real devices: reached once at the end of a run, however the run ends.

Rules of this file and of `guardian.py`:

- The guardian does it, always: a small process in a session of its own, which Ctrl-C, SIGTERM and SIGHUP do not end.
  The run tells it at its end to go on; when the run dies before, the guardian sees that and goes on by itself. One
  executor, so the safe state is driven once.
- One bench has one guardian at a time: the next run on it begins when the guardian of the one before has done its work.
- It goes on only after the commands of the run are over: each inherits a descriptor that the guardian watches.
- If it is the guardian that dies, the run does at its end what the guardian did not note as done.
- What it did stands in `guardian.log` in the folder of the run, and, if the run still lives, in the run log.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from .._core import WireLock
from ..errors import BenchError, FieldrigError
from ..units import nanoseconds
from .switch import make_switch

START = 30.0
"""So many seconds the guardian may take to start."""
SPARE = 10.0
"""So much longer than all its time limits it may take to reach the safe state."""


@dataclass(frozen=True)
class SafeAction:
    """What brings one device into its safe state."""

    device: str
    action: str
    table: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a safe action; `problem` is empty if it succeeded."""

    device: str
    action: str
    problem: str
    by: str


def perform(one: SafeAction) -> str:
    """Drives a safe action and reads it back; gives what went wrong, or nothing."""
    try:
        with _wire_of(one), contextlib.ExitStack() as held:
            switch = make_switch(one.device, one.table)
            held.callback(getattr(switch, "close", lambda: None))
            switch.drive(one.action)
            switch.confirm(one.action)
    except FieldrigError as error:
        return error.message
    except Exception as error:  # whatever it is, the other devices are still to be made safe
        return f"{type(error).__name__}: {error}"
    return ""


def _wire_of(one: SafeAction) -> contextlib.ExitStack:
    """The lock of the wire of a relay. Who does not give it up in time is not waited for: to be safe comes first."""
    held = contextlib.ExitStack()
    for url in (one.table.get("reach") or {}).get("locks", ()):
        wire = urlsplit(url)
        with contextlib.suppress(FieldrigError):
            name = wire.netloc or wire.path
            held.enter_context(WireLock(name, f"safe state of {one.device}", wait=one.table["timeout"]))
    return held


class SafeState:
    """The run's side of the guardian, which lives when the constructor returns; `finish` it when the bench closes."""

    def __init__(
        self,
        actions: Sequence[SafeAction],
        bench: Path,
        folder: Path,
        log: Callable[..., None],
        secrets: Sequence[str] = (),
    ) -> None:
        self._actions = tuple(actions)
        self._bench = bench.resolve()
        self._secrets = list(secrets)
        self._path = folder.absolute() / "guardian.log"
        self._log = log
        self._owner = os.getpid()
        self._outcomes: list[Outcome] | None = None
        self._token = ""
        # Commands of the run inherit one end; the guardian sees by the other that all of them are over.
        self._busy = [*os.pipe()]
        try:
            self._process = self._start()
        except BaseException:
            self._close_busy()
            raise

    def descriptors(self) -> Sequence[int]:
        """What a command of the run inherits."""
        return self._busy[1:]

    def begins(self, group: int) -> None:
        """A command of the run was started."""
        self._tell(self._process, {"begins": group})

    def ends(self, group: int) -> None:
        """A command of the run is over."""
        self._tell(self._process, {"ends": group})

    def check(self) -> None:
        """Looks whether the guardian lives; another takes its place if it was killed.

        Raises:
            BenchError: no other can be started.
        """
        if self._outcomes is None and self._process.poll() is not None:
            self._log("guardian.lost", code=self._process.returncode)
            _close_pipes(self._process)
            self._process = self._start()

    def finish(self) -> list[Outcome]:
        """Reaches the safe state and gives what became of each action; a second call only gives that again.

        Interrupted, as by a second Ctrl-C, it leaves the guardian to itself: nobody waits for it any more.
        """
        if os.getpid() != self._owner:
            return []
        if self._outcomes is None:
            self._outcomes = []
            self._close_busy()
            self._tell(self._process, {"finish": True})
            self._wait_for_guardian()
            self._outcomes = [self._outcome(one) for one in self._actions]
        return self._outcomes

    def _wait_for_guardian(self) -> None:
        try:
            self._process.wait(self._longest())
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _close_pipes(self._process)

    def _longest(self) -> float:
        """So many seconds a guardian may need to reach the safe state."""
        each = [nanoseconds(one.table["timeout"], "timeout") / 1e9 for one in self._actions]
        # Waiting for the wire, driving and reading back may take the limit each; a command of the run may end first.
        return 3 * sum(each) + max(each) + SPARE

    def _outcome(self, one: SafeAction) -> Outcome:
        """What the guardian noted; what it did not come to is done here."""
        noted = next((note for note in self._notes() if note.get("device") == one.device), None)
        if noted is not None:
            outcome = Outcome(one.device, one.action, str(noted["problem"]), "guardian")
        elif self._process.returncode == 0:
            outcome = Outcome(one.device, one.action, f"what became of it is not in {self._path}", "guardian")
        else:
            outcome = Outcome(one.device, one.action, perform(one), "run")
        self._log("safe", device=one.device, action=one.action, by=outcome.by, problem=outcome.problem)
        return outcome

    def _notes(self) -> list[dict[str, Any]]:
        """What this guardian noted of actions that are over."""
        found = []
        with contextlib.suppress(OSError):
            for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError):
                    note = json.loads(line)
                    if isinstance(note, dict) and note.get("guardian") == self._token and "problem" in note:
                        found.append(note)
        return found

    def _start(self) -> subprocess.Popen[bytes]:
        self._token = uuid.uuid4().hex
        command = [sys.executable, "-P", "-m", "fieldrig.life.guardian", str(self._busy[0])]
        try:
            said: IO[bytes] = self._path.open("ab")
        except OSError as error:
            raise BenchError(f"the log of the guardian cannot be written: {error}") from None
        with said:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                pass_fds=self._busy[:1],
                start_new_session=True,
            )
        try:
            self._tell(process, self._orders())
            self._wait_until_ready(process)
        except BaseException:
            process.kill()
            _close_pipes(process)
            process.wait()
            raise
        self._log("guardian", pid=process.pid, devices=[one.device for one in self._actions])
        return process

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Waits for the first word of a guardian.

        Raises:
            BenchError: it says nothing, or that another run has the bench.
        """
        assert process.stdout is not None  # asked for by `_start`
        said = process.stdout.readline() if readable(process.stdout, START + self._longest()) else b""
        if said == b"ready\n":
            return
        if said.startswith(b"taken "):
            reason = said.decode(errors="replace").removeprefix("taken ").strip()
            raise BenchError(f"the devices of this bench are in the hands of another run: {reason}")
        raise BenchError("the guardian of the safe state does not start", hint=f"its words are in {self._path}")

    def _orders(self) -> dict[str, Any]:
        """What the guardian has to know."""
        longest = max(nanoseconds(one.table["timeout"], "timeout") / 1e9 for one in self._actions)
        actions = [vars(one) for one in self._actions]
        return {
            "run": self._owner,
            "guardian": self._token,
            "log": str(self._path),
            "bench": str(self._bench),
            "patience": self._longest(),
            "wait": longest,
            "secrets": self._secrets,
            "actions": actions,
        }

    def _tell(self, process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
        if process.stdin is not None and os.getpid() == self._owner:
            # A guardian that is gone is noticed by `check` and by `finish`.
            with contextlib.suppress(OSError, ValueError):
                process.stdin.write(json.dumps(message).encode() + b"\n")
                process.stdin.flush()

    def _close_busy(self) -> None:
        while self._busy:
            os.close(self._busy.pop())


def readable(descriptor: int | IO[bytes], seconds: float) -> bool:
    """Whether there is something to read, or an end, within so many seconds; of any descriptor, however high."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
