"""What is wrong with a step of a stimulus program, said where it is written.

Rules of this file:

- Everything that can be known without the port is refused here, by `UsageError`: with the number and the word of the
  step, the value, and what to write instead.
- Durations have a unit; a bare number never is one.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sized
from typing import TypedDict, Unpack

from fieldrig._core import Span, duration_ns
from fieldrig.errors import UsageError

LATE = ("catch_up", "skip", "abort")
OTHERWISE = ("abort", "go_on")


class When(TypedDict, total=False):
    """When a step is due: at most one of these, and `of` beside `after`; see `fieldrig.stimulus.Program`."""

    at: str | Span | None
    after: str | Span | None
    of: str | None
    quiet: str | Span | None
    after_received: str | Span | None
    after_sent: str | Span | None


WHENS = tuple(When.__annotations__)


class Place:
    """Where in a program something is written: for what is said about it."""

    def __init__(self, method: str, number: int, name: str | None) -> None:
        self.method = method
        self.number = number
        self.name = name

    def wrong(self, message: str, hint: str | None = None) -> UsageError:
        return UsageError(f"Program, step {self.number}, {self.method}(): {message}", hint=hint)

    def nanos(self, value: object, name: str) -> int:
        if isinstance(value, bool | int | float):
            raise self.wrong(f"{name}={value!r} has no unit", f'write a duration such as {name}="10ms"')
        try:
            return duration_ns(value)  # type: ignore[arg-type]  # what is none of these it says itself
        except UsageError as error:
            raise self.wrong(f"{name}={value!r}: {error.message}", error.hint) from None

    def octets(self, data: object) -> bytes:
        if isinstance(data, str):
            raise self.wrong(f"{data!r} is text, not bytes", f"write {data.encode()!r}")
        if not isinstance(data, bytes | bytearray | memoryview):
            raise self.wrong(f"{data!r} is not bytes", 'write for example b"hello"')
        if not len(data):
            raise self.wrong("there is nothing to send", "to let time pass, use pause()")
        return bytes(data)

    def switch(self, on: object) -> bool:
        if not isinstance(on, bool):
            raise self.wrong(f"{on!r} is neither True nor False", f"write {self.method}(True)")
        return on

    def when(self, **when: Unpack[When]) -> tuple[str, int, str | None]:
        """When a step is due: what it counts from, how long, and the name of a step."""
        unknown = [key for key in when if key not in WHENS]
        if unknown:
            hint = close_to(unknown[0], [*WHENS, "name"]) or f"when it is due is said by {', '.join(WHENS)}"
            raise self.wrong(f"there is no {unknown[0]}=", hint)
        said = {key: when.get(key) for key in WHENS if key != "of" and when.get(key) is not None}
        of = when.get("of")
        if len(said) > 1:
            raise self.wrong(f"{' and '.join(f'{key}=' for key in said)} both say when", "keep one of them")
        if of is not None and not isinstance(of, str):
            raise self.wrong(f"of={of!r} is no name", 'write for example of="login"')
        if of is not None and said and "after" not in said:
            raise self.wrong(f"of= goes with after=, not with {next(iter(said))}=", f'write after="10ms", of={of!r}')
        if not said:
            return ("after", 0, None) if of is None else ("at", 0, of)
        key, value = next(iter(said.items()))
        length = self.nanos(value, key)
        if of is not None:
            return ("at", length, of)
        return ({"after_received": "received", "after_sent": "left"}.get(key, key), length, None)

    def awaited(self, until: object) -> tuple[str, str | int]:
        """A pattern, or a number of bytes."""
        if isinstance(until, bool) or not isinstance(until, str | bytes | int):
            raise self.wrong(f"{until!r} is neither a pattern nor a number of bytes", 'write for example wait(rb"ok")')
        if isinstance(until, int):
            if until < 1:
                raise self.wrong(f"{until} bytes are there at once", "wait for one or more")
            return ("count", until)
        if isinstance(until, str):
            return ("pattern", until)
        if not until.isascii():
            raise self.wrong(f"{until!r} has bytes beyond ASCII", "write such a byte as rb'(?-u)\\xff'")
        return ("pattern", until.decode("ascii"))

    def limit(self, within: object) -> int:
        """A time limit, which must be there: nothing waits for ever."""
        if within is None:
            raise self.wrong("within= is missing: how long may it take?", 'write for example within="1s"')
        return self.nanos(within, "within")

    def check_end(self, count: object, until: object, within: object) -> None:
        """What is wrong with how a repeat ends."""
        if within is not None and until is None:
            raise self.wrong("within= is the time limit of until=, which is missing", "add until=, or count= instead")
        if until is not None and within is None and count is None:
            raise self.wrong("until= may never come: how long may it take?", 'add within="10s", or count=')
        if isinstance(until, bool | int):
            raise self.wrong(f"until={until!r} is no pattern", 'write for example until=rb"done"')

    def check_repeat(self, body: Sized, period: int, count: object, late: object, tolerance: object) -> None:
        """What is wrong with a repeat."""
        if not len(body):
            raise self.wrong("there is nothing to repeat", "write the steps before it: Program().send(..).repeat(..)")
        if not period:
            raise self.wrong("every= is no time at all", 'write for example every="10ms"')
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise self.wrong(f"count={count!r} is not a number of slots", "write count=1 or more; without it, no end")
        if late not in LATE:
            hint = close_to(late, LATE) if isinstance(late, str) else None
            raise self.wrong(f'late={late!r} is not "catch_up", "skip" or "abort"', hint)
        if tolerance is not None and late == "catch_up":
            raise self.wrong('tolerance= has no use with late="catch_up"', 'write late="skip" or late="abort"')


def close_to(word: str, known: Collection[str]) -> str | None:
    """What may have been meant, as a hint."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else None
