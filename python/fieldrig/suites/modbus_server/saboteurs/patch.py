"""Patches: what stands between the suite and a server and makes it break a requirement.

A patch sees PDUs, so the same patch works on every carrier and in front of every server. One that breaks framing itself
changes whole frames. Whoever applies it (`wire.PatchedWire`, `proxy.Proxy`) sets `server`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fieldrig import Stamp

Pieces = Sequence[tuple[float, bytes]]
"""Pieces of a burst, each with the pause before it (seconds)."""


class Patch:
    """Changes nothing. A patch overrides what it changes; it may keep state, and is made anew for each run."""

    unit = 0
    """To which unit the request at hand goes."""
    server: Callable[[bytes], bytes | None]
    """Asks the real server something of the patch's own; gives the PDU of its answer."""
    ask_unit: Callable[[int, bytes], bytes | None]
    """The same, of another unit id than that of the request."""

    def opens(self) -> bool:
        """Whether another connection is accepted."""
        return True

    def request(self, pdu: bytes) -> bytes | None:
        """The PDU that the server gets instead of that of the client; `None`: it gets nothing."""
        return pdu

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        """The PDU that the client gets instead of that of the server (`None`: it kept silent); `None`: nothing.

        `pdu` is what the client sent.
        """
        return answer

    def request_frame(self, frame: bytes) -> bytes | None:
        """Bytes that the server gets instead of a burst of the client that is no frame; `None`: nothing."""
        return frame

    def pieces(self, parts: Pieces) -> Pieces | None:
        """What the server gets of a burst that comes in pieces, each with the pause before it; `None`: nothing.

        On a line, several pieces go on with their pauses as they are, and no other method is asked; one piece is taken
        for what came at once.
        """
        return parts

    def instants(self, end_of_request: float, stamps: Sequence[Stamp]) -> Sequence[Stamp]:
        """When the bytes of an answer arrive instead."""
        return stamps

    def answer_frame(self, request: bytes, frame: bytes) -> bytes:
        """Bytes that the client gets instead of a whole frame of an answer; `request` is the frame of the request."""
        return frame

    def closes(self, answer: bytes) -> bool:
        """Whether the connection is closed behind an answer (its PDU)."""
        return False


def exception(pdu: bytes, code: int) -> bytes:
    """The PDU of an exception to a request."""
    return bytes([pdu[0] | 0x80, code])


def is_exception(answer: bytes, code: int | None = None) -> bool:
    """Whether a PDU is an exception, with that code if one is given."""
    return bool(answer[0] & 0x80) and (code is None or answer[1:2] == bytes([code]))


def words(pdu: bytes) -> tuple[int, ...]:
    """The fields of two bytes behind the function code: of a read, address and quantity."""
    return tuple(int.from_bytes(pdu[at : at + 2], "big") for at in range(1, len(pdu) - 1, 2))
