"""What carries PDUs: the frames around them, built and taken apart by hand, one module for each framing.

Rows never see framing: they ask the server for a request and get answers. `CARRIERS` has the framings by the names that
requirements and reports use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from ..frames import Adu
from .ascii import Ascii
from .rtu import Rtu
from .tcp import Tcp

__all__ = ["CARRIERS", "Carrier"]


class Carrier(Protocol):
    """One framing."""

    @property
    def name(self) -> str:
        """As in requirements: `tcp`, `rtu`, .."""

    @property
    def line(self) -> bool:
        """It is one wire with one request at a time: nothing is opened or closed, no request has an id."""

    def request(
        self, pdu: bytes, *, unit: int, transaction: int = 0, protocol: int = 0, length: int | None = None
    ) -> bytes:
        """A request; what the framing does not have is not looked at, `length` is a lie in the length field."""

    def answer(self, pdu: bytes, request: bytes) -> bytes:
        """The right frame around an answer to a request."""

    def split(self, data: bytes, *, complete: bool) -> list[Adu]:
        """Cuts what came into answers; bytes that are no whole answer yet are left over.

        Where bytes alone cannot tell the end of an answer nothing is cut until `complete` says that no more come.
        """

    def disputed(self, data: bytes) -> bool:
        """Only time can tell where the answer at the beginning ends."""

    def plausible(self, data: bytes) -> bool:
        """What came may be all that comes: a pause behind it is an end. If not, only time being up is."""

    def requests(self, data: bytes) -> list[tuple[bytes, int, bytes]] | None:
        """Frame, unit and PDU of each request in what a client sent; `None` if there is anything else in it."""

    def dissect(self, data: bytes, sender: Literal["client", "server"]) -> list[str]:
        """What each message in the bytes means, for display; several lines each."""


_ALL: tuple[Carrier, ...] = (
    Tcp("tcp"),
    Tcp("udp"),
    Tcp("tls"),
    Rtu("rtu", line=True),
    Ascii("ascii", line=True),
    Rtu("rtu+tcp", line=False),
    Ascii("ascii+tcp", line=False),
)
CARRIERS: Mapping[str, Carrier] = {carrier.name: carrier for carrier in _ALL}
