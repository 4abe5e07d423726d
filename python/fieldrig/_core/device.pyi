"""Emulated devices."""

from typing import Any, Literal, final

from fieldrig._core import HasInstant, Span, Stamp

__all__ = ["Change", "Device"]

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

@final
class Device:
    """An emulated device of a bench: one store of points behind any number of faces."""

    @property
    def name(self) -> str: ...
    @property
    def power(self) -> Literal["off", "boot", "run"]: ...
    def set(self, point: str, value: float | bool | str) -> Change:
        """Sets a point as the surroundings of the device would.

        Raises `UsageError` for an unknown point, a value of another kind or outside the range.
        """
    def get(self, point: str) -> Any:
        """The value of a point. Raises `UsageError` for an unknown point."""
    def power_on(self) -> Stamp:
        """Switches it on; gives the instant. Booting takes as long as the model says."""
    def power_off(self) -> Stamp:
        """Switches it off: every connection of every face breaks, wires fall silent."""
    def habit(self, face: str, name: str, value: object = None) -> None:
        """Changes how a face behaves. Without a value the habit is switched on, `"default"` is the standard's way.

        Raises `UsageError` for an unknown face or habit (the text lists all) and a value that does not fit.
        """
    def address(self, face: str, /) -> str:
        """Where a face is found: `127.0.0.1:40233`, `/dev/pts/7`."""
    def close(self) -> None: ...
