"""The native core: time, rigs, and one submodule for each protocol."""

from typing import Final, Literal, Protocol, final, type_check_only

__all__ = ["Span", "Stamp", "__version__", "duration", "duration_ns"]

__version__: Final[str]

@type_check_only
class HasInstant(Protocol):
    """Anything that happened at a known instant."""

    @property
    def at(self) -> Stamp: ...

@final
class Stamp:
    """An instant of a run, known to lie between `earliest` and `latest`.

    Seconds (and nanoseconds) since the clock of the process began; one clock for all rigs and links.
    """

    def __new__(cls, earliest_ns: int, latest_ns: int | None = None) -> Stamp: ...
    @property
    def earliest(self) -> float: ...
    @property
    def latest(self) -> float: ...
    @property
    def earliest_ns(self) -> int: ...
    @property
    def latest_ns(self) -> int: ...
    @property
    def at(self) -> Stamp:
        """The stamp itself, so that it can stand wherever an event can."""
    def order(self, other: HasInstant) -> Literal["before", "after", "unknown"]:
        """What the two intervals say about the order of the instants."""
    def until(self, later: HasInstant) -> Span:
        """The span from this instant to that of `later`."""
    def __sub__(self, other: Stamp, /) -> Span: ...
    def __rsub__(self, other: Stamp, /) -> Span: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs__(self) -> tuple[int, int]: ...

@final
class Span:
    """The time between two instants: not shorter than `earliest`, not longer than `latest`.

    Seconds (and nanoseconds); negative where the second instant came first.
    """

    def __new__(cls, earliest_ns: int, latest_ns: int | None = None) -> Span: ...
    @property
    def earliest(self) -> float: ...
    @property
    def latest(self) -> float: ...
    @property
    def earliest_ns(self) -> int: ...
    @property
    def latest_ns(self) -> int: ...
    def judge(
        self, *, min: str | Span | None = None, max: str | Span | None = None
    ) -> Literal["pass", "fail", "inconclusive"]:
        """Pass if surely inside both limits, fail if surely outside one, else inconclusive.

        Raises `UsageError` for a limit that is no duration.
        """
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs__(self) -> tuple[int, int]: ...

def duration(value: str | Span, /) -> float:
    """Reads a duration with its unit (`"500ms"`; ns, us, ms, s, min, h) and gives seconds.

    Raises `UsageError` for a bare number, an unknown unit, a negative duration.
    """

def duration_ns(value: str | Span, /) -> int:
    """Like `duration`, in nanoseconds."""
