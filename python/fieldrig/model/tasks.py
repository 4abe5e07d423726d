"""Coroutines without asyncio: the tasks of a model, driven by the device on its own clock.

Rules of this file:
- Time is what the device says (`Scheduler.now`, nanoseconds); nothing here looks at a clock. Two runs with the same
  inputs take the same steps in the same order.
- Tasks that can go on do so in the order in which they became able to; timers of one instant fire in the order in which
  they were set.
- A model may await only what is made here: a `Future` is what a coroutine hands up to the scheduler.
- More than `STEPS` steps at one instant are a model that never waits: an error, never a hang.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from .._core import Span
from ..units import nanoseconds

T = TypeVar("T")

#: How many steps tasks may take at one instant.
STEPS = 10_000


class ModelError(Exception):
    """The base of what a model's own awaits raise. None of them is a verdict: the model decides what it means."""


class Cancelled(ModelError):
    """The task that was awaited has been cancelled."""


class NeverWaits(ModelError):
    """The model takes steps without end at one instant."""


class Future(Generic[T]):
    """Something that will be known later; await it as often as you like.

    ::

        first = self.uplink.publish("a", "1", qos=1)      # both are under way
        second = self.uplink.publish("b", "2", qos=1)
        await first
        await second
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._waiters: list[Task[Any]] = []
        self._value: T | None = None
        self._error: BaseException | None = None
        self._timed = False
        #: Whether it is known, or failed.
        self.done = False

    def resolve(self, value: T) -> None:
        """It is known now. The first word counts."""
        self._finish(value, None)

    def reject(self, error: BaseException) -> None:
        """It will never be known. The first word counts."""
        self._finish(None, error)

    def _finish(self, value: T | None, error: BaseException | None) -> None:
        if self.done:
            return
        self.done, self._value, self._error = True, value, error
        if self._timed:
            self._scheduler.timer_is_dead()
        for waiter in self._waiters:
            self._scheduler.ready.append(waiter)
        self._waiters.clear()

    def __await__(self) -> Generator[Future[Any], None, T]:
        if not self.done:
            yield self
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # resolved with a T


class Task(Future[T]):
    """A coroutine that runs beside others. Awaiting it gives its result, or raises what it raised."""

    def __init__(self, scheduler: Scheduler, coroutine: Coroutine[Any, Any, T], name: str) -> None:
        super().__init__(scheduler)
        self._coroutine = coroutine
        self._awaits: Future[Any] | None = None
        self.name = name

    def cancel(self) -> None:
        """Ends it where it waits; its `finally` blocks run, without waiting. No effect on one that is over.

        Raises:
            ModelError: it is the running task: return instead.
        """
        if self.done:
            return
        if self._scheduler.running is self:
            raise ModelError(f"the task `{self.name}` cannot cancel itself; return instead")
        self._let_go()
        self._coroutine.close()
        self.reject(Cancelled(f"the task `{self.name}` was cancelled"))

    def _let_go(self) -> None:
        awaited, self._awaits = self._awaits, None
        if awaited is not None and self in awaited._waiters:
            awaited._waiters.remove(self)
            if not awaited._waiters and not isinstance(awaited, Task):
                # Nobody wants it any more: a queue must not hand an item to it.
                awaited.reject(Cancelled("nobody waits for it any more"))

    def step(self) -> None:
        """Lets it go on to its next wait.

        Raises:
            BaseException: what the coroutine raised, if no other task waits for this one.
        """
        self._awaits = None
        try:
            wanted = self._coroutine.send(None)
            while not isinstance(wanted, Future):
                wanted = self._coroutine.throw(_foreign(wanted))
        except StopIteration as end:
            self.resolve(end.value)
        except Exception as error:
            alone = not self._waiters
            self.reject(error)
            if alone:
                raise
        else:
            self._awaits = wanted
            wanted._waiters.append(self)


def _foreign(wanted: object) -> TypeError:
    return TypeError(
        "a model awaits only what fieldrig.model offers (self.sleep, links, queues, tasks), not "
        f"{type(wanted).__name__}; asyncio knows nothing of the device's clock"
    )


class Scheduler:
    """Runs the tasks of one model."""

    def __init__(self) -> None:
        #: The instant of this turn, in nanoseconds.
        self.now = 0
        #: Tasks that can go on, in order.
        self.ready: deque[Task[Any]] = deque()
        self._timers: list[tuple[int, int, Future[Any], Callable[[], None]]] = []
        self._dead_timers = 0
        self._sequence = 0
        self._tasks: list[Task[Any]] = []
        self._steps = 0
        self._closed = False
        #: The task whose step this is.
        self.running: Task[Any] | None = None

    def turn(self, now: int) -> None:
        """The device calls: this is the instant."""
        if now != self.now:
            self.now, self._steps = now, 0

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> Task[T]:
        """A new task; it begins after those that can go on already."""
        task = Task(self, coroutine, name)
        if self._closed:
            task.cancel()
            return task
        self._tasks.append(task)
        self.ready.append(task)
        return task

    def future(self) -> Future[Any]:
        """Something that will be known later."""
        return Future(self)

    def at(self, due: int, future: Future[T], then: Callable[[], None]) -> Future[T]:
        """Calls `then` at this instant, unless the future is done by then."""
        future._timed = True
        self._sequence += 1
        heapq.heappush(self._timers, (max(due, self.now), self._sequence, future, then))
        return future

    def limit(self, future: Future[T], timeout: str | Span | None, what: str) -> Future[T]:
        """Fails with `TimeoutError` after this time, unless the future is done by then; `None` waits for ever."""
        if timeout is None or future.done:
            return future
        due = self.now + nanoseconds(timeout, "timeout")
        return self.at(due, future, lambda: future.reject(TimeoutError(f"{what} did not come in time")))

    def timer_is_dead(self) -> None:
        """A future with a timer is done: forgets such timers once they are many."""
        self._dead_timers += 1
        if self._dead_timers > 64 and 2 * self._dead_timers > len(self._timers):
            self._timers = [timer for timer in self._timers if not timer[2].done]
            heapq.heapify(self._timers)
            self._dead_timers = 0

    def go(self) -> None:
        """Fires what is due and lets every task go on until all of them wait.

        Raises:
            NeverWaits: they do not come to rest.
            BaseException: what a task raised for which nobody waits.
        """
        while self._fire() or self.ready:
            while self.ready:
                task = self.ready.popleft()
                if task.done:
                    continue
                self._steps += 1
                if self._steps > STEPS:
                    raise NeverWaits(
                        f"the task `{task.name}` took the last of {STEPS} steps at one instant without waiting"
                    )
                self.running = task
                try:
                    task.step()
                finally:
                    self.running = None
        self._tasks = [task for task in self._tasks if not task.done]

    def _fire(self) -> bool:
        fired = False
        while self._timers and (self._timers[0][2].done or self._timers[0][0] <= self.now):
            _, _, future, then = heapq.heappop(self._timers)
            if future.done:
                self._dead_timers -= 1
                continue
            # Its timer is out of the list: it does not count as dead.
            future._timed = False
            then()
            fired = True
        return fired

    def next_due(self) -> int | None:
        """When something is due, in nanoseconds."""
        while self._timers and self._timers[0][2].done:
            heapq.heappop(self._timers)
            self._dead_timers -= 1
        return self._timers[0][0] if self._timers else None

    def close(self) -> list[BaseException]:
        """Ends every task where it waits; gives what `finally` blocks raised."""
        self._closed = True
        raised: list[BaseException] = []
        for task in self._tasks:
            try:
                task.cancel()
            except Exception as error:
                raised.append(error)
        self._tasks, self._timers, self._dead_timers = [], [], 0
        self.ready.clear()
        return raised


class Event:
    """Something that tasks wait for: it is set or not."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._waiting: list[Future[None]] = []
        #: Whether it is set.
        self.is_set = False

    def set(self) -> None:
        """Sets it: everybody who waits goes on."""
        self.is_set = True
        for future in self._waiting:
            future.resolve(None)
        self._waiting.clear()

    def clear(self) -> None:
        """Takes it back: who waits from now on waits for the next `set`."""
        self.is_set = False

    def wait(self, timeout: str | Span | None = None) -> Future[None]:
        """Until it is set.

        Args:
            timeout: how long at most (`"2s"`); awaiting it raises `TimeoutError` then. `None`: for ever.
        """
        future: Future[None] = Future(self._scheduler)
        if self.is_set:
            future.resolve(None)
        else:
            self._waiting = [waiting for waiting in self._waiting if not waiting.done]
            self._waiting.append(future)
        return self._scheduler.limit(future, timeout, "the event")


class Queue(Generic[T]):
    """Things in order, from some tasks to others.

    Args:
        scheduler: that of the model.
        limit: how many it keeps; `put` on a full one drops the oldest and says so. `None`: no limit.
    """

    def __init__(self, scheduler: Scheduler, limit: int | None = None) -> None:
        self._scheduler = scheduler
        self._items: deque[T] = deque()
        self._waiting: deque[Future[T]] = deque()
        self._limit = limit

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> bool:
        """Puts one in at the end. Gives False if the oldest one had to go for it."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done:
                future.resolve(item)
                return True
        dropped = self._limit is not None and len(self._items) >= self._limit
        if dropped:
            self._items.popleft()
        self._items.append(item)
        return not dropped

    def put_back(self, item: T) -> None:
        """Puts one in at the front: it could not be dealt with, and is still the next."""
        if self._waiting:
            self.put(item)
        else:
            self._items.appendleft(item)

    def get(self, timeout: str | Span | None = None) -> Future[T]:
        """The next one; waits for it.

        Args:
            timeout: how long at most (`"2s"`); awaiting it raises `TimeoutError` then. `None`: for ever.
        """
        future: Future[T] = Future(self._scheduler)
        if self._items:
            future.resolve(self._items.popleft())
        else:
            self._waiting.append(future)
        return self._scheduler.limit(future, timeout, "the next item")
