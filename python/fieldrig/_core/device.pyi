"""Emulated devices from a model file."""

from typing import Any, final

from fieldrig._core import HasInstant, Span, Stamp

__all__ = ["Change"]

@final
class Change:
    """A value that was set."""

    def __new__(cls, point: str, value: float | bool | str, at: Stamp) -> Change: ...
    @property
    def point(self) -> str: ...
    @property
    def value(self) -> Any: ...
    @property
    def at(self) -> Stamp: ...
    def until(self, later: HasInstant, /) -> Span: ...
    def __getnewargs__(self) -> tuple[str, Any, Stamp]: ...
