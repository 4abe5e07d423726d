"""Emulated devices."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, final

from fieldrig._core import HasInstant, Span, Stamp
from fieldrig._core.modbus import Request, Rule
from fieldrig.handling import Reply

__all__ = ["Change", "Device", "Turn"]

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
    def rule(self, face: str, /, **keys: object) -> Rule:
        """Adds a rule to a Modbus face: it comes last, and so wins. The keys are those of a rule in a model file;
        `from_` stands for `from`.

        Raises `UsageError`: what is wrong with it; the face is no Modbus server.
        """
    def rules(self, face: str, /) -> dict[str, Rule]:
        """The rules of a Modbus face by name, in order. Raises `UsageError` for another face."""
    def handle(self, face: str, function: Callable[[Request], Reply] | None, /) -> None:
        """Has a function answer the requests to a Modbus face, as `handler` of `modbus.Device`; None: the device again.

        Raises `UsageError`: the face is no Modbus server; the function cannot be called.
        """
    def reset_rules(self) -> None:
        """Puts the rules of every Modbus face back to those of the model, switched as there; they begin anew."""
    @property
    def raised(self) -> str | None:
        """What its model raised, and where, if it did since `clear_raised`; the device lost power with it."""
    def clear_raised(self) -> None:
        """Forgets it."""
    def reset_points(self) -> Stamp:
        """Puts every point back to its initial value; model and faces see it as they see `set`. Gives the instant.

        Without power nothing happens: power-on does the same.
        """
    def address(self, face: str, /) -> str:
        """Where a face is found: `127.0.0.1:40233`, `/dev/pts/7`."""
    def close(self) -> None: ...

@final
class Turn:
    """What a model in Python may do while its device calls it; used by `fieldrig.model` only.

    Every method raises `UsageError` once the call is over.
    """

    @property
    def now(self) -> int:
        """The instant, in nanoseconds."""
    def get(self, point: str, /) -> Any:
        """The value of a point. Raises `UsageError` for an unknown point."""
    def set(self, point: str, value: object, /) -> None:
        """Sets a point. Raises `UsageError` for an unknown point, a value of another kind or outside the range."""
    def line(self, face: str, text: str, /) -> None:
        """Says a line on a console; an empty name means every console."""
    def ask(self, face: str, request: Mapping[str, Any], /) -> None:
        """Asks through a face; the answer with the same `token` comes in a later call."""
    def log(self, kind: str, fields: dict[str, Any], /) -> None:
        """Writes into the run log."""
    def fail(self, message: str, trace: str, /) -> None:
        """The model is broken: the device loses power."""
