"""The guardian: brings real devices into their safe state when the run ends, however it ends.

``python -m fieldrig.life.guardian DESCRIPTOR`` is started by `safe.SafeState` in a session of its own. It reads its
orders as JSON lines on its standard input: first who the run is and what is to be done, then which commands the run has
under way, at last ``finish``. The end of that input, or of the process of the run, is an order to go on, too.
DESCRIPTOR is a pipe whose other end every command of the run has inherited: its end says that they are over.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from typing import IO, Any

from .._core import Secrets, WireLock
from ..errors import FieldrigError
from .command import kill_group
from .safe import SafeAction, perform, readable

DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""What ends a run must not end its guardian."""
UNKNOWN = 5.0
"""So many seconds it waits for what holds the descriptor and is no command that the run told of: perhaps a command that
began in the run's last instant, perhaps a daemon that a command left behind."""


class Guardian:
    """Waits for the end of a run, then acts."""

    def __init__(self, orders: dict[str, Any], busy: int) -> None:
        self._run: int = orders["run"]
        self._token: str = orders["guardian"]
        self._longest: float = orders["wait"]
        self._actions = [SafeAction(**one) for one in orders["actions"]]
        self._secrets = Secrets(orders["secrets"])
        self._busy = busy
        self._groups: set[int] = set()
        self._log: IO[str] = open(orders["log"], "a", encoding="utf-8", buffering=1)  # noqa: SIM115  # until its end

    def watch(self) -> None:
        """Returns when the run wants the safe state, or has died."""
        poll = select.poll()
        poll.register(0, select.POLLIN)
        with contextlib.suppress(OSError):
            poll.register(os.pidfd_open(self._run), select.POLLIN)
        if os.getppid() != self._run:
            return self._note(event="the run has died")
        _say("ready")
        rest = b""
        while True:
            if not any(descriptor == 0 for descriptor, _ in poll.poll()):
                return self._note(event="the run has died")
            piece = os.read(0, 65536)
            if not piece:
                return self._note(event="the run is gone without a word")
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                order = json.loads(line)
                if "finish" in order:
                    return self._note(event="the run has ended")
                self._groups |= {order["begins"]} if "begins" in order else set()
                self._groups -= {order["ends"]} if "ends" in order else set()

    def wait_for_commands(self) -> None:
        """Waits until no command of the run is under way; one that does not end in its time is killed.

        A command that the run had begun could undo the safe state after it was reached.
        """
        patience = self._longest if self._groups else min(UNKNOWN, self._longest)
        if not readable(self._busy, patience):
            self._note(event="something that the run had started does not end", killed=sorted(self._groups))
            for group in self._groups:
                kill_group(group)

    def act(self) -> None:
        """Does every action once, whatever becomes of the others."""
        for one in self._actions:
            self._note(event="begins", device=one.device, action=one.action)
            problem = perform(one)
            self._note(event="safe", device=one.device, action=one.action, problem=problem)

    def _note(self, **fields: object) -> None:
        """A line in `guardian.log`; a full disk keeps nobody from acting."""
        line = {"guardian": self._token, "monotonic": round(time.monotonic(), 3), **fields}
        with contextlib.suppress(OSError):
            self._log.write(self._secrets.mask(json.dumps(line)) + "\n")


def _say(word: str) -> None:
    """A line to the run, if it still listens."""
    with contextlib.suppress(OSError):
        os.write(1, word.encode() + b"\n")


def _hear_nothing(number: int, frame: object) -> None:
    """What a signal does here."""


def main(arguments: list[str]) -> int:
    """Serves one run; gives the exit code: 0 if everything was done."""
    for one in DEAF_TO:
        # Not SIG_IGN: the commands of the safe state would inherit that, and those that end a helper of theirs hang.
        signal.signal(one, _hear_nothing)
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)
        if not piece:
            return 0  # the run died before it had said what is to be done, and so before it had done anything
        line += piece
    orders = json.loads(line)
    try:
        # Until its end: a run that began meanwhile would find its devices switched off under its hands.
        alone = WireLock(
            orders["bench"], f"the safe state of run {orders['run']}", wait=f"{orders['patience'] * 1000:.0f}ms"
        )
    except FieldrigError as error:
        _say(f"taken {error.message}")
        return 1  # and the run has done nothing yet
    with alone:
        guardian = Guardian(orders, int(arguments[0]))
        guardian.watch()
        guardian.wait_for_commands()
        guardian.act()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
