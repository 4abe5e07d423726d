"""One raw byte conversation, as the rows of this suite need it.

`Wire` is what the suite asks for; `StreamWire` gives it by means of `fieldrig.stream.Stream`, whose bytes are stamped
when they arrive and stand in the trace. Rows never see more than this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from fieldrig import Stamp

Ending = Literal["finished", "reset"]
"""How the server ended a connection: FIN or RST."""


class WireError(Exception):
    """A connection could not be made; `kind` says why as far as TCP tells."""

    def __init__(self, kind: Literal["refused", "unreachable"], text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True)
class Arrival:
    """Bytes that came in, and the instants of the first and the last of them (seconds of the run's clock)."""

    data: bytes
    first: float
    last: float
    reads: int = 1
    """In how many pieces the port gave them."""
    stamps: Sequence[tuple[int, Stamp]] = ()
    """Where each piece begins, and when it arrived; empty if only `first` and `last` are known."""


AT_ONCE = -1.0
"""As the pause before the first piece: on a line, the silence between frames is not waited for."""


class Wire(Protocol):
    """A connection to the server under test."""

    @property
    def ended(self) -> Ending | None:
        """How the server ended it, once that was seen."""

    def send(self, parts: Sequence[tuple[float, bytes]]) -> float | None:
        """Sends pieces, each that many seconds after the one before; gives the instant of the last one.

        `None`: the server had closed the connection before everything was sent.
        """

    def receive(self, enough: Callable[[bytes], bool], within: float) -> Arrival | None:
        """Gives what came since the last call, as soon as `enough` is content, the connection ended or time is up."""

    def close(self, how: Literal["fin", "rst", "half"]) -> None:
        """Ends it; `half` says that nothing more follows and goes on reading."""


Opener = Callable[[str | None], Wire]
"""Opens a connection to the server, from a local address if one is given. Raises `WireError`."""
