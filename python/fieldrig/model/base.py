"""`Model`: what users derive their devices from, and `Point`, what such a device has."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from .._core import Span
from ..errors import UsageError
from ..units import nanoseconds
from .links import Link
from .tasks import Event, Future, Queue, Task

if TYPE_CHECKING:
    from .machine import Machine

T = TypeVar("T")


class Point:
    """A point of a device, as `[points.NAME]` of a model file.

    Args:
        kind: `"bool"`, `"int"`, `"float"` or `"text"`.
        unit: its unit, for people.
        initial: its value after power-on; by default 0, false or empty.
        range: lowest and highest value.
        access: `"read"`, or `"read-write"`: others may write it.
    """

    def __init__(
        self,
        kind: str,
        *,
        unit: str = "",
        initial: bool | int | float | str | None = None,
        range: tuple[float, float] | None = None,
        access: str = "read",
    ) -> None:
        self.kind, self.unit, self.initial, self.range, self.access = kind, unit, initial, range, access

    def table(self) -> dict[str, Any]:
        """The same as a model file has it."""
        table: dict[str, Any] = {"kind": self.kind, "access": self.access}
        if self.unit:
            table["unit"] = self.unit
        if self.initial is not None:
            table["initial"] = self.initial
        if self.range is not None:
            table["range"] = list(self.range)
        return table


class _Slots:
    """The slots of `Model.every`."""

    def __init__(self, machine: Machine, length: int) -> None:
        self._machine, self._length = machine, length
        self._begun, self._slot = machine.scheduler.now, -1

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        elapsed = self._machine.scheduler.now - self._begun
        # The next slot that is not over yet: a division that rounds up.
        self._slot = max(self._slot + 1, -(-elapsed // self._length))
        await self._machine.sleep(self._slot * self._length - elapsed)
        return self._slot


class Model:
    """The behaviour of an emulated device, in Python.

    A new object is made at each power-on with the `settings` of the bench file as keyword arguments: what a device
    keeps in memory is lost with its power, and so is everything here. `run` starts when the device runs and is
    cancelled at power-off. Links are attributes, named as in the bench file. Everything happens on the clock of the
    bench, virtual or real: await `self.sleep`, never `time.sleep` or `asyncio`. Every hook may be `async def`.
    """

    #: The device's points, by name.
    points: ClassVar[Mapping[str, Point]] = {}
    #: Settings of its faces by link, as `[face.NAME]` of a model file.
    faces: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    #: From power-on until the device runs.
    boot: ClassVar[str] = "0s"
    #: What its consoles say meanwhile: texts, or `{"at": "50ms", "text": ".."}`; spread as in a model file.
    boot_lines: ClassVar[Sequence[str | Mapping[str, str]]] = ()

    _machine: Machine

    async def run(self) -> None:
        """What the device does; may end."""

    def on_message(self, link: Link, topic: str, payload: bytes) -> Coroutine[Any, Any, None] | None:
        """A message came in that the device subscribed to (`commands` of the face)."""

    def on_line(self, link: Link, line: str) -> Coroutine[Any, Any, None] | None:
        """A line came in on a console."""

    def on_change(self, point: str, value: Any) -> Coroutine[Any, Any, None] | None:
        """A point was set by anybody but the model itself: the test, or another device through a face."""

    def on_ready(self, link: Link) -> Coroutine[Any, Any, None] | None:
        """A link is ready: connected."""

    def on_gone(self, link: Link) -> Coroutine[Any, Any, None] | None:
        """A link is not ready any more."""

    @property
    def device(self) -> str:
        """The name of the device in the bench file."""
        return self._machine.device

    @property
    def links(self) -> Mapping[str, Link]:
        """All links, by name."""
        return self._machine.links

    @property
    def now(self) -> float:
        """The instant, in seconds of the bench's clock. It stands still from one await to the next."""
        return self._machine.scheduler.now / 1e9

    @property
    def uptime(self) -> float:
        """Seconds since power-on."""
        return (self._machine.scheduler.now - self._machine.powered_at) / 1e9

    @property
    def random(self) -> random.Random:
        """Random numbers, the same ones in each run: seeded with the device's name and the count of its power-ons."""
        return self._machine.random

    def get(self, point: str) -> Any:
        """The value of a point.

        Raises:
            UsageError: there is no such point.
        """
        return self._machine.turn().get(point)

    def set(self, point: str, value: bool | int | float | str) -> None:
        """Sets a point: every face shows it at once.

        Raises:
            UsageError: there is no such point, or it does not take this value.
        """
        self._machine.turn().set(point, value)

    def log(self, kind: str, **fields: bool | int | float | str | bytes) -> None:
        """Writes an event of its own into the run log, as `model.KIND`."""
        self._machine.turn().log(f"model.{kind}", fields)

    def sleep(self, duration: str | Span) -> Future[None]:
        """Waits so long.

        Raises:
            UsageError: a bare number, or no duration.
        """
        return self._machine.sleep(nanoseconds(duration, "duration"))

    def every(self, period: str | Span) -> AsyncIterator[int]:
        """Goes on once each period, from now on: `async for slot in self.every("1s")`. The slots are kept however long
        a round takes; a slot that was missed is left out. Gives the number of the slot, from 0.

        Raises:
            UsageError: no duration, or a period of nothing.
        """
        length = nanoseconds(period, "period")
        if length <= 0:
            raise UsageError(f"every({period!r}): the period is nothing")
        return _Slots(self._machine, length)

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> Task[T]:
        """Starts a further task beside the one that calls. What it raises, if nobody awaits it, stops the device."""
        name = getattr(coroutine, "__qualname__", None) or repr(coroutine)
        return self._machine.scheduler.spawn(coroutine, str(name))

    def queue(self, limit: int | None = None) -> Queue[Any]:
        """A queue between tasks.

        Args:
            limit: how many items it keeps; beyond, the oldest is dropped. `None`: all.
        """
        return Queue(self._machine.scheduler, limit)

    def event(self) -> Event:
        """Something that tasks can wait for."""
        return Event(self._machine.scheduler)

    def __getattr__(self, name: str) -> Any:
        machine = self.__dict__.get("_machine")
        if machine is not None and name in machine.links:
            return machine.links[name]
        known = ", ".join(machine.links) if machine is not None else ""
        raise AttributeError(
            f"{type(self).__name__} has no attribute and no link `{name}`; its links: {known or 'none'}"
        )
