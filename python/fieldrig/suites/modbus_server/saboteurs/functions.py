"""Servers that break a single function."""

from __future__ import annotations

from .base import Saboteur, one, patched
from .patch import Patch, exception, is_exception, words


class FewerRegisters(Patch):
    """Refuses to read more than 124 registers."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return exception(pdu, 3) if pdu[0] in (3, 4) and words(pdu)[1:] == (125,) else answer


class NothingIsAnAnswer(Patch):
    """Answers a read of nothing with nothing."""

    def __init__(self, *functions: int) -> None:
        self._functions = functions

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        nothing = pdu[0] in self._functions and words(pdu)[1:] == (0,) and words(pdu)[0] != 0xFFFF
        return bytes([pdu[0], 0]) if nothing else answer


class Overflow(Patch):
    """Takes any quantity of registers; the byte count overflows."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        first, quantity = (*words(pdu), 0, 0)[:2]
        if pdu[0] not in (3, 4) or quantity <= 125 or first == 0xFFFF:
            return answer
        count = 2 * quantity % 256
        return bytes([pdu[0], count]) + bytes(count)


class Invents(Patch):
    """Answers a read of one register that is not there with zeros."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        missing = answer is not None and is_exception(answer, 2) and pdu[0] in (3, 4) and words(pdu)[1:] == (1,)
        return bytes([pdu[0], 2, 0, 0]) if missing else answer


SABOTEURS: dict[str, Saboteur] = {
    "FC03-01": patched(FewerRegisters, "PDU-04", "PDU-07"),
    "FC03-02": patched(lambda: NothingIsAnAnswer(3)),
    "FC03-03": patched(Overflow),
    "FC03-04": patched(Invents),
    "FC03-05": one("tear", True),
}
