"""Endpoints that are written in Python: what drives them."""

from collections.abc import Callable
from typing import Any, Literal, final

from fieldrig._core import HasInstant, Rig, Span, Stall, Stamp

__all__ = ["Driver", "Report"]

@final
class Report:
    """Something that an endpoint told."""

    @property
    def kind(self) -> str: ...
    @property
    def fields(self) -> dict[str, Any]: ...
    @property
    def at(self) -> Stamp:
        """When it happened: as the endpoint says, else the arrival of what it comes from."""
    @property
    def place(self) -> int:
        """Its number, counted from 0."""
    def __getitem__(self, name: str, /) -> Any:
        """A field. Raises KeyError if there is none of that name."""
    def until(self, later: HasInstant, /) -> Span:
        """The span from it to a later event."""
    def describe(self) -> str:
        """One line for a failure text."""

@final
class Driver:
    """Drives an endpoint; `fieldrig.endpoint.Driver` is what tests use."""

    def __new__(
        cls,
        url: str,
        guide: object,
        *,
        listen: bool,
        rig: Rig | None = None,
        name: str | None = None,
        belongs_to: Literal["bench", "dut"] = "bench",
    ) -> Driver: ...
    @property
    def url(self) -> str: ...
    @property
    def name(self) -> str: ...
    def call(self, function: Callable[[Any, int], Any], /) -> tuple[Any, Stamp, Stamp]:
        """Calls a function with the endpoint and the instant: what it gave, the issue of what came of it, its end."""
    def wait(self, index: int, deadline_ns: int, /) -> tuple[Report, ...]:
        """What it told from a place on; waits for the first of it until the deadline of the run clock.

        Raises PortLost or ConnectionLost if none came, and the port has ended.
        """
    @property
    def heard(self) -> bool:
        """Whether bytes have ever come."""
    def alive(self, since: Stamp, /) -> str | None:
        """Why a silence from an instant on cannot be believed, or None."""
    def missed(self, since: Stamp, /) -> str | None:
        """What is known to have been lost of what came from an instant on, or None."""
    @property
    def resolution_ns(self) -> int:
        """So long may bytes have waited in the adapter before a look could find them; 0 if nothing holds them back."""
    def look(self) -> None:
        """Takes what has arrived, without waiting."""
    def now(self) -> Stamp: ...
    def stalls(self, since: HasInstant, /) -> tuple[Stall, ...]: ...
    def close(self) -> None: ...
