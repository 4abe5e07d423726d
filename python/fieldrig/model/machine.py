"""What stands between a device and the model that is its behaviour: one `Machine` for each device.

Rules of this file:
- The device calls, at instants of its own clock, from one thread at a time; each call is a turn. What the model does
  in a turn goes through the `Turn` it is given; between turns a model can do nothing.
- Each call gives when the next one is wanted.
- An error in the model stops the device (`Turn.fail`); nothing of it comes out of a call. What a signal handler raises
  does (Ctrl-C).
"""

from __future__ import annotations

import inspect
import random
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ..errors import UsageError
from ..units import nanoseconds
from . import watchdog
from .base import Model
from .links import Link, LinkInfo, failure, link_class
from .tasks import Future, Scheduler


class Turn(Protocol):
    """What the device lets a model do while it calls it."""

    @property
    def now(self) -> int:
        """The instant, in nanoseconds."""

    def get(self, point: str, /) -> Any:
        """The value of a point."""

    def set(self, point: str, value: Any, /) -> None:
        """Sets a point."""

    def line(self, face: str, text: str, /) -> None:
        """Says a line on a console; an empty name means every console."""

    def ask(self, face: str, request: Mapping[str, Any], /) -> None:
        """Asks through a face; the answer with the same `token` comes in a later call."""

    def log(self, kind: str, fields: dict[str, Any], /) -> None:
        """Writes into the run log."""

    def fail(self, message: str, trace: str, /) -> None:
        """The model is broken: the device loses power."""


class Machine:
    """Runs the models of one device, one after the other: a new one at each power-on.

    Args:
        model: the class.
        settings: its keyword arguments.
        device: the name of the device.
        links: its links, in the order of the bench file: the fields of `LinkInfo`.
    """

    def __init__(
        self, model: type[Model], settings: Mapping[str, Any], device: str, links: Sequence[tuple[str, ...]]
    ) -> None:
        self.device = device
        self.links: Mapping[str, Link] = {}
        self._by_face: dict[str, Link] = {}
        self.scheduler = Scheduler()
        self.random = random.Random(device)
        self.powered_at = 0
        self._class, self._settings = model, dict(settings)
        self._infos = [LinkInfo(*link) for link in links]
        self._model: Model | None = None
        self._turn: Turn | None = None
        self._asks: dict[int, Future[Any]] = {}
        self._tokens = 0
        self._boots = 0
        for info in self._infos:
            if hasattr(Model, info.name):
                raise UsageError(
                    f"a device with a Python model cannot have a link named `{info.name}`: "
                    "every model has something of this name"
                )

    def turn(self) -> Turn:
        """The turn of the device that calls now.

        Raises:
            UsageError: none does: the model is used from another thread, or after power-off.
        """
        if self._turn is None:
            raise UsageError(
                "a model can do nothing between the calls of its device (another thread, or after power-off)"
            )
        return self._turn

    def sleep(self, length: int) -> Future[None]:
        """Known after so many nanoseconds."""
        future: Future[None] = self.scheduler.future()
        return self.scheduler.at(self.scheduler.now + length, future, lambda: future.resolve(None))

    # What the device calls.

    def boot(self, turn: Turn) -> tuple[int, int | None]:
        """Power came on. Gives the instant at which the device runs, and when the next call is wanted."""
        self.scheduler = Scheduler()
        self._asks.clear()
        self._boots += 1
        self.powered_at = turn.now
        self.random = random.Random(f"{self.device} {self._boots}")
        runs_at = turn.now + nanoseconds(self._class.boot, "boot")
        due = self._call(turn, lambda: self._begin(turn, runs_at))
        return runs_at, due

    def run(self, turn: Turn) -> int | None:
        """The device runs now."""
        return self._call(turn, lambda: self._start(lambda model: model.run()))

    def changed(self, turn: Turn, point: str, value: Any) -> int | None:
        """A point was changed by somebody else."""
        return self._call(turn, lambda: self._start(lambda model: model.on_change(point, value)))

    def heard(self, turn: Turn, face: str, kind: str, what: Any) -> int | None:
        """A face heard something: `"line"` (a text), `"message"` (topic and payload), `"ready"`, `"gone"` or
        `"answer"` (a table with its `token`)."""
        return self._call(turn, lambda: self._hear(face, kind, what))

    def due(self, turn: Turn) -> int | None:
        """What is due."""
        return self._call(turn, lambda: None)

    def power_off(self, turn: Turn) -> None:
        """Power is lost: everything ends where it waits."""
        self._turn = turn
        try:
            self.scheduler.turn(turn.now)
            for error in self.scheduler.close():
                turn.log("model.raised_at_power_off", {"error": summary(error), "trace": trace(error)})
        finally:
            self._turn = None
            self._model = None
            self._asks.clear()

    # What the calls do.

    def _call(self, turn: Turn, work: Callable[[], None]) -> int | None:
        self._turn = turn
        self.scheduler.turn(turn.now)
        watchdog.begin()
        try:
            work()
            self.scheduler.go()
        except (Exception, SystemExit, GeneratorExit, watchdog.NeverReturns) as error:
            turn.fail(summary(error), trace(error))
            return None
        finally:
            watchdog.end()
            self._turn = None
        return self.scheduler.next_due()

    def _begin(self, turn: Turn, runs_at: int) -> None:
        self.links = {info.name: link_class(info)(info, self.scheduler, self._ask, self._line) for info in self._infos}
        self._by_face = {link._face: link for link in self.links.values()}
        self._plan_boot_lines(turn.now, runs_at)
        model = self._class.__new__(self._class)
        model._machine = self
        self._model = model
        self._class.__init__(model, **self._settings)

    def _plan_boot_lines(self, begun: int, runs_at: int) -> None:
        lines = self._class.boot_lines
        for index, line in enumerate(lines):
            text = line if isinstance(line, str) else line["text"]
            at = None if isinstance(line, str) else line.get("at")
            after = (runs_at - begun) * (index + 1) // len(lines) if at is None else nanoseconds(at, "at")
            future: Future[None] = self.scheduler.future()
            self.scheduler.at(begun + after, future, lambda text=text: self._line("", text))  # type: ignore[misc]

    def _start(self, hook: Callable[[Model], Any]) -> None:
        if self._model is None:
            return
        result = hook(self._model)
        if inspect.iscoroutine(result):
            self.scheduler.spawn(result, result.__qualname__)
        elif inspect.isasyncgen(result):
            raise UsageError(f"{result.__qualname__} has a `yield` in it: a model's coroutines await")

    def _hear(self, face: str, kind: str, what: Any) -> None:
        link = self._by_face.get(face)
        if kind == "answer":
            self._answer(what)
        elif link is None:
            return
        elif kind == "line":
            self._start(lambda model: model.on_line(link, what))
        elif kind == "message":
            topic, payload = what
            self._start(lambda model: model.on_message(link, topic, payload))
        elif kind == "ready":
            link._ready.set()
            self._start(lambda model: model.on_ready(link))
        elif kind == "gone":
            link._ready.clear()
            self._start(lambda model: model.on_gone(link))

    def _answer(self, answer: Mapping[str, Any]) -> None:
        future = self._asks.pop(answer["token"], None)
        if future is None:
            return
        error = failure(answer)
        if error is not None:
            future.reject(error)
        else:
            future.resolve(answer.get("pdu", answer.get("values")))

    def _ask(self, face: str, request: dict[str, Any]) -> Future[Any]:
        turn = self.turn()
        self._tokens += 1
        future = self.scheduler.future()
        self._asks[self._tokens] = future
        turn.ask(face, {"token": self._tokens, **request})
        return future

    def _line(self, face: str, text: str) -> None:
        self.turn().line(face, text)


def summary(error: BaseException) -> str:
    """What was raised and where, in one line: `ZeroDivisionError: division by zero (gateway.py, line 12, in send)`."""
    what = traceback.format_exception_only(error)[-1].strip()
    own = _own_frames(error)
    if not own:
        return what
    last = own[-1]
    name = last.filename.rsplit("/", 1)[-1]
    return f"{what} ({name}, line {last.lineno}, in {last.name})"


def trace(error: BaseException) -> str:
    """The traceback as Python prints it, without the frames of the scheduler."""
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(_own_frames(error))]
    return "".join([*lines, *traceback.format_exception_only(error)])


def _own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    frames = traceback.extract_tb(error.__traceback__)
    folder = __file__.rsplit("/", 1)[0]
    return [frame for frame in frames if not frame.filename.startswith(folder)]
