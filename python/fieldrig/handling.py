"""Handlers of Modbus requests: functions that answer in the place of an emulated device.

::

    from fieldrig import modbus

    def answer(request: modbus.Request) -> modbus.Reply:
        if request.function == 3 and request.address == 100:
            return [clock.minute()]         # values; or bytes for a PDU, modbus.Refuse(2), modbus.NO_ANSWER
        return None                         # everything else as usual

    with modbus.Device(holding={0: [1, 2]}, handler=answer) as device: ...

Rules of this file:
- The device calls `Handler.ask` from one thread at a time, which may be one of its own; nothing comes out of the call
  but what a signal handler raises on the main thread (Ctrl-C).
- A handler that raises, or gives what is no reply, is the bench's fault, and somebody is told: whoever closes the
  device, else the test (the plug-in asks), else standard error at the end.
- One that does not return is ended by the watchdog of the models, and is not asked again.
"""

from __future__ import annotations

import atexit
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, final

from .errors import BenchError, UsageError

__all__ = ["NO_ANSWER", "Failed", "Handler", "Refuse", "Reply", "Silence", "take", "why_broken"]


class Refuse(Exception):
    """The request is answered with an exception: returned or raised by a handler.

    Args:
        code: the exception code, 0 to 255: 1 illegal function, 2 illegal data address, 3 illegal data value, 4 server
            device failure, 6 server device busy (AP 7).

    Raises:
        UsageError: another code.
    """

    def __init__(self, code: int) -> None:
        if isinstance(code, bool) or not isinstance(code, int) or not 0 <= code <= 255:
            raise UsageError(f"an exception code is 0 to 255, not {code!r}")
        super().__init__(f"exception {code:#04x}")
        self.code = code


@final
class Silence:
    """The type of `NO_ANSWER`."""

    def __repr__(self) -> str:
        return "modbus.NO_ANSWER"


NO_ANSWER: Final = Silence()
"""Nothing is answered, and nothing is done."""

Reply: TypeAlias = Sequence[int] | bytes | bytearray | bool | Refuse | Silence | None
"""What a handler gives: None (the device answers as usual), values (of a request that reads), `True` (a request that
writes is done), bytes (a PDU, whatever it is), `Refuse(code)`, `NO_ANSWER`."""


class Failed:
    """A handler has failed."""

    def __init__(self, error: str, trace: str) -> None:
        self.error, self.trace = error, trace


class Handler:
    """What stands between a device and the function that answers for it.

    Args:
        function: the function.
        device: the device, as errors name it.

    Raises:
        UsageError: it cannot be called.
    """

    def __init__(self, function: Callable[[Any], Reply], device: str) -> None:
        if not callable(function):
            raise UsageError(f"a handler is a function that takes a request, not {function!r}")
        from .model import watchdog  # only who has a handler pays for it

        self._watchdog = watchdog
        self.function, self.device = function, device
        self.name = str(getattr(function, "__qualname__", type(function).__qualname__))
        self._ended = False
        self._failures: list[Failed] = []

    def ask(self, request: Any) -> Any:
        """What the function gives, or `Failed`."""
        if self._ended:
            return Failed("it did not return before, and is not asked again", "")
        watchdog = self._watchdog
        watchdog.begin()
        try:
            return self.function(request)
        except Refuse as refused:
            return refused
        except watchdog.NeverReturns as error:
            self._ended = True
            patience = f"{watchdog.PATIENCE * watchdog.TICK:g} s of real time"
            return Failed(f"it did not return within {patience}{_place(error)}", _trace(error))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise
            what = traceback.format_exception_only(error)[-1].strip()
            return Failed(f"it raised {what}{_place(error)}", _trace(error))
        finally:
            watchdog.end()

    def failed(self, error: str, trace: str) -> None:
        """The device says that it has failed."""
        self._failures.append(Failed(error, trace))
        if self not in _broken:
            _broken.append(self)

    def problem(self) -> BenchError | None:
        """How it failed since this was asked last; None if it did not."""
        if not self._failures:
            return None
        first, *others = self._failures
        self._failures = []
        if self in _broken:
            _broken.remove(self)
        often = f" ({len(others)} more requests after it)" if others else ""
        trace = f"\n{first.trace.rstrip()}" if first.trace else ""
        return BenchError(
            f"the handler {self.name} of {self.device} is broken{often}: {first.error}{trace}",
            hint="the client got exception 04; the requests stand in the run log, under modbus.handler_failed",
        )

    def tell(self) -> None:
        """Raises `problem`, if there is one."""
        problem = self.problem()
        if problem is not None:
            raise problem


_broken: list[Handler] = []


def take() -> BenchError | None:
    """How handlers failed of which nobody was told; None if none did."""
    problems = [problem for handler in tuple(_broken) if (problem := handler.problem()) is not None]
    for other in problems[1:]:
        problems[0].add_note(f"  and: {other.message}")
    return problems[0] if problems else None


def why_broken() -> str | None:
    """What `take` will say, in short."""
    return f"the handler {_broken[0].name} of {_broken[0].device} broke before" if _broken else None


@atexit.register
def _say_at_the_end() -> None:
    problem = take()
    if problem is not None:
        sys.stderr.write(f"{problem}\n")


def _place(error: BaseException) -> str:
    frames = _frames(error)
    if not frames:
        return ""
    last = frames[-1]
    return f" ({last.filename.rpartition('/')[2]}, line {last.lineno}, in {last.name})"


def _trace(error: BaseException) -> str:
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(_frames(error))]
    return "".join([*lines, *traceback.format_exception_only(error)])


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Where it was raised, from the function of the user on."""
    return [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
