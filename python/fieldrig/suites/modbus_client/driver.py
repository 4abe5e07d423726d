"""How the suite makes the client under test do something: a driver, a program or a Python object of the user.

A request is a JSON object, an outcome is one, too; a program reads requests from its standard input and writes outcomes
to its standard output, one a line. README.md lists the calls and the outcomes. Rules:

- What a driver does wrong is never the client's fault: `DriverFailure` says that it died, or talks nonsense.
- A call that does not end in time is `Hung`: the client, or its driver, is stuck. The driver is not used any further.
- An outcome belongs to the request before it. Who says something unasked is not listened to any more: what it says next
  could be held against the wrong call.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shlex
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from fieldrig.errors import UsageError

ERRORS = ("exception", "timeout", "malformed", "lost", "refused", "unsupported", "other")
"""What a driver can say instead of a value."""

LONGEST_LINE = 1 << 20
"""An outcome is no longer than this (bytes)."""

DriverObject = Callable[[dict[str, Any]], Mapping[str, Any]]
"""A driver in Python: takes a request, gives an outcome."""


class DriverFailure(Exception):
    """The driver died or talks nonsense: nothing can be said about the client."""


class Hung(Exception):
    """A call did not end."""


@dataclass(frozen=True)
class Outcome:
    """What the client made of a call."""

    began: float
    """When the driver was told (monotonic clock, seconds) ..."""
    ended: float
    """... and when it had answered."""
    values: tuple[int, ...] | None = None
    """What was read."""
    pdu: bytes | None = None
    """The PDU that a raw call got."""
    objects: Mapping[int, bytes] | None = None
    """What a read of the identification got."""
    done: bool = False
    """The client reports success; of a write that is all."""
    error: str | None = None
    """One of `ERRORS`."""
    code: int | None = None
    """Of an exception, its code."""
    text: str = ""
    """How the client says it."""
    took: float | None = None
    """How long the call took, measured by the driver (seconds)."""
    outcomes: tuple[Outcome, ...] = ()
    """Of calls at the same time."""
    facts: Mapping[str, Any] | None = None
    """Everything that the driver said."""

    def says(self) -> str:
        """The outcome in a few words."""
        text = f": {self.text[:80]}" if self.text else ""
        if self.error is not None:
            return f"{self.error}{f' {self.code:02X}' if self.code is not None else ''}{text}"
        if self.values is not None:
            shown = ", ".join(f"{value:04X}" if value > 1 else str(int(value)) for value in self.values[:6])
            return f"{len(self.values)} values ({shown}{', ..' if len(self.values) > 6 else ''})"
        if self.pdu is not None:
            return f"{len(self.pdu)} PDU bytes ({self.pdu[:8].hex(' ')})"
        if self.objects is not None:
            return f"{len(self.objects)} objects"
        return "success"


class Driver(Protocol):
    """One running driver."""

    def ask(self, request: dict[str, Any], within: float) -> Outcome:
        """Has a call made. Raises `DriverFailure`, `Hung`."""

    def close(self) -> None:
        """Ends it."""


Starter = Callable[[], Driver]
"""Starts a driver. Raises `DriverFailure`."""


def parse(said: object, began: float, ended: float) -> Outcome:
    """Makes an outcome of what a driver said. Raises `DriverFailure` if it is none."""
    if not isinstance(said, Mapping):
        raise DriverFailure(f"the driver said {_shown(said)}, which is no JSON object")
    try:
        return _outcome(said, began, ended)
    except (TypeError, ValueError, AttributeError) as error:
        raise DriverFailure(f"the driver said {_shown(said)}: {error}") from None


def _outcome(said: Mapping[str, Any], began: float, ended: float) -> Outcome:
    error, values = said.get("error"), said.get("values")
    if error is not None and error not in ERRORS:
        raise ValueError(f"error is {error!r}; it is one of {', '.join(ERRORS)}")
    results = [name for name in ("error", "values", "pdu", "objects", "ok", "outcomes") if said.get(name) is not None]
    if len(results) != 1:
        raise ValueError(
            f"it has {' and '.join(results) or 'nothing'}; one of error, values, pdu, objects, ok, outcomes"
        )
    if error == "exception" and not isinstance(said.get("code"), int):
        raise ValueError("an exception needs its code")
    objects = said.get("objects")
    return Outcome(
        began=began,
        ended=ended,
        values=None if values is None else tuple(int(value) for value in values),
        pdu=None if said.get("pdu") is None else bytes.fromhex(said["pdu"]),
        objects=None if objects is None else {int(key): bytes.fromhex(value) for key, value in objects.items()},
        done=error is None,
        error=error,
        code=None if said.get("code") is None else int(said["code"]),
        text=str(said.get("text") or ""),
        took=None if said.get("took") is None else float(said["took"]),
        outcomes=tuple(parse(each, began, ended) for each in said.get("outcomes") or ()),
        facts=said,
    )


def _shown(said: object) -> str:
    text = said if isinstance(said, str) else repr(said)
    return repr(text if len(text) <= 120 else text[:117] + "...")


class ProgramDriver:
    """A driver that is a program.

    Args:
        command: the command line; `{url}` in it is the address of our server.
        url: that address.

    Raises:
        UsageError: the command line is malformed.
        DriverFailure: it cannot be started.
    """

    def __init__(self, command: str, url: str) -> None:
        try:
            words = [word.replace("{url}", url) for word in shlex.split(command)]
        except ValueError as error:
            raise UsageError(f"--driver is no command line: {error}") from None
        if not words:
            raise UsageError("--driver is empty; it is the command that starts the driver")
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                bufsize=1,
                start_new_session=True,
            )
        except OSError as error:
            raise DriverFailure(f"the driver cannot be started: {error}") from None
        self._name = os.path.basename(words[0])
        self._lines: queue.Queue[tuple[float, str | None]] = queue.Queue(100)
        self._complaints: deque[str] = deque(maxlen=5)
        self._readers = [
            threading.Thread(target=self._read, name="outcomes of the driver", daemon=True),
            threading.Thread(target=self._listen, name="complaints of the driver", daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def ask(self, request: dict[str, Any], within: float) -> Outcome:
        assert self._process.stdin is not None
        self._must_be_silent()
        began = time.monotonic()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            ended, line = self._lines.get(timeout=within)
        except (OSError, ValueError):
            raise DriverFailure(self._death()) from None
        except queue.Empty:
            raise Hung(f"the call {request['call']} did not end within {within:.1f} s") from None
        if line is None:
            raise DriverFailure(self._death())
        try:
            said = json.loads(line)
        except ValueError:
            raise DriverFailure(f"the driver said {_shown(line)}, which is no JSON") from None
        return parse(said, began, ended)

    @property
    def unasked(self) -> int:
        """How many lines it has said that nobody has read."""
        return self._lines.qsize()

    def _must_be_silent(self) -> None:
        """Raises `DriverFailure` if the driver said more than it was asked for."""
        with contextlib.suppress(queue.Empty):
            _, line = self._lines.get_nowait()
            if line is not None:
                raise DriverFailure(f"the driver said {_shown(line)} without being asked")
            raise DriverFailure(self._death())

    def close(self) -> None:
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        with contextlib.suppress(queue.Empty):  # whoever says more than anybody reads is not kept from ending
            while self._lines.get(timeout=1.0)[1] is not None:
                pass
        for reader in self._readers:
            reader.join(1.0)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None and not any(reader.is_alive() for reader in self._readers):
                stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):
            while line := self._process.stdout.readline(LONGEST_LINE):
                if line.strip():
                    self._lines.put((time.monotonic(), line.strip()))
        self._lines.put((time.monotonic(), None))

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(ValueError):
            for line in self._process.stderr:
                self._complaints.append(line.rstrip())

    def _death(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._readers[1].join(1.0)
        said = f"; it said: {' / '.join(self._complaints)}" if self._complaints else ""
        return f"the driver {self._name} ended (exit code {self._process.returncode}){said}"


class ObjectDriver:
    """A driver that is a Python object. Its calls run on a thread of their own, because a client can hang."""

    def __init__(self, driver: DriverObject) -> None:
        self._driver = driver
        self._requests: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._outcomes: queue.Queue[tuple[float, object]] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="driver of the client", daemon=True)
        self._thread.start()

    def ask(self, request: dict[str, Any], within: float) -> Outcome:
        began = time.monotonic()
        self._requests.put(request)
        try:
            ended, said = self._outcomes.get(timeout=within)
        except queue.Empty:
            raise Hung(f"the call {request['call']} did not end within {within:.1f} s") from None
        if isinstance(said, Exception):
            raise DriverFailure(f"the driver raised {type(said).__name__}: {said}") from said
        return parse(said, began, ended)

    def close(self) -> None:
        self._requests.put(None)
        self._thread.join(1.0)

    def _run(self) -> None:
        while (request := self._requests.get()) is not None:
            said: object
            try:
                said = self._driver(request)
            except Exception as error:  # told to whoever asked
                said = error
            self._outcomes.put((time.monotonic(), said))
