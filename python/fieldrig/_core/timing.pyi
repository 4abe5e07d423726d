"""Verdicts on the times of events, and how finely ports tell time. `fieldrig.timing` is what tests use."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, final

from fieldrig._core import Span, Stamp

__all__ = [
    "Calibration",
    "Figure",
    "calibration_file",
    "calibrations",
    "judge_timing",
    "origin_of",
    "span_begins_with_what_was_seen",
    "span_too_fine",
    "store_calibration",
    "too_fine",
]

@final
class Figure:
    """What was found out about the times of events: a value, its limits, and what becomes of it."""

    @property
    def name(self) -> str:
        """What it is: `time`, `gap`, `period`, `mean period`, `jitter`."""
    @property
    def value(self) -> Span:
        """As far as it is known; of several intervals, that which decides."""
    @property
    def min_ns(self) -> int | None: ...
    @property
    def max_ns(self) -> int | None: ...
    @property
    def verdict(self) -> Literal["pass", "inconclusive", "fail"]: ...
    @property
    def reason(self) -> str:
        """Why; empty for a pass."""

def judge_timing(
    name: str,
    intervals: Sequence[tuple[Stamp, Stamp, bool]],
    *,
    min_ns: int | None = None,
    max_ns: int | None = None,
    drift_ns: int | None = None,
) -> tuple[Figure, ...]:
    """Judges the intervals of a series: from, to, and whether it begins with an action of ours that caused its end.

    `name` is `within`, `not_before`, `gap`, `period` (`min_ns` is the nominal one, `max_ns` the tolerance) or `jitter`.
    """

def too_fine(
    name: str,
    stamps: Sequence[Stamp],
    intervals: int,
    *,
    min_ns: int | None = None,
    max_ns: int | None = None,
    drift_ns: int | None = None,
) -> tuple[str, int, str, int] | None:
    """Why these limits are too fine for the ports through which the stamps were seen; None if they are not.

    Returns the port, its resolution (ns), where that is from, and the limit (ns).
    """

def span_too_fine(span: Span, limit_ns: int, /) -> tuple[str, int, str, int] | None:
    """The same for a limit of a span."""

def span_begins_with_what_was_seen(span: Span, /) -> bool:
    """Whether the event that it begins with was seen, and is nothing that we did."""

def origin_of(stamp: Stamp, /) -> tuple[str, int, str] | None:
    """Through which port an instant was seen: its name, its resolution (ns), and where that is from.

    None for actions of ours, on virtual time, and for stamps from another process.
    """

@final
class Calibration:
    """What is kept about how finely a port tells time."""

    @property
    def port(self) -> str:
        """Its stable name: `usb:0403:6001:FT4XK2`, or the device node."""
    @property
    def resolution_ns(self) -> int: ...
    @property
    def delay_ns(self) -> int: ...
    @property
    def line(self) -> str: ...
    @property
    def rounds(self) -> int: ...
    @property
    def driver(self) -> str | None: ...
    @property
    def latency_timer(self) -> int | None: ...
    @property
    def rx_trig_bytes(self) -> int | None: ...
    @property
    def kernel(self) -> str: ...
    @property
    def unused(self) -> str | None:
        """Why it is not used any more: what changed since; None if nothing did, or the port is not there."""

def calibration_file() -> Path | None:
    """Where calibrations are kept; None if this user has no place for them."""

def calibrations(file: str | Path, /) -> tuple[Calibration, ...]:
    """All that are kept. Raises `PortError` if the file is wrong."""

def store_calibration(
    file: str | Path, port: str, *, resolution_ns: int, delay_ns: int, line: str, rounds: int
) -> Calibration:
    """Keeps what was measured of a port, named as in its URL, with what it depends on.

    Raises `PortError` if the file is wrong or cannot be written, or no adapter has this name.
    """
