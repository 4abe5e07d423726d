"""Durations as the user writes them and as people read them. The parser itself is in Rust: one for all."""

from __future__ import annotations

from ._core import Span, duration
from .errors import UsageError


def nanoseconds(value: str | Span, name: str) -> int:
    """A time limit in nanoseconds.

    Args:
        value: a duration with a unit (``"500ms"``), or a Span, of which the latest end counts.
        name: the argument, for the error text.

    Raises:
        UsageError: a bare number, a malformed duration, a negative span.
    """
    if isinstance(value, Span):
        if value.latest_ns < 0:
            raise UsageError(f"{name}= is a negative span")
        return value.latest_ns
    if not isinstance(value, str):
        raise UsageError(f'{name}={value!r} has no unit: write a duration such as {name}="{value}s" or "{value}ms"')
    return round(duration(value) * 1e9)


def human(nanos: int) -> str:
    """Nanoseconds the way people say them: ``750 ms``."""
    size = abs(nanos)
    for scale, unit in ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")):
        if size >= scale:
            return f"{nanos / scale:.4g} {unit}"
    return f"{nanos} ns"
