"""Servers that break what holds for exceptions."""

from __future__ import annotations

from ..pdus import write_registers
from .base import Saboteur, patched
from .changes import answering, field
from .patch import Patch, exception, is_exception

ENOUGH = 30
"""After so many refusals in a row one saboteur gives up."""


def wrong_code(pdu: bytes, answer: bytes) -> bytes:
    return exception(pdu, 2)


def silence(pdu: bytes, answer: bytes) -> None:
    return None


class TakesZeroForRead(Patch):
    """00: reads a register."""

    def request(self, pdu: bytes) -> bytes:
        return b"\x03\x00\x00\x00\x01" if pdu[0] == 0 else pdu

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return b"\x00" + answer[1:] if pdu[0] == 0 and answer is not None else answer


def code_of_its_own(pdu: bytes, answer: bytes) -> bytes:
    return exception(pdu, 0x0C) if len(pdu) == 7 else answer


class OverlooksBit7(Patch):
    """Takes a function code with bit 7 for the one without."""

    def request(self, pdu: bytes) -> bytes:
        return bytes([pdu[0] & 0x7F]) + pdu[1:]


class AnswersTwice(Patch):
    """Answers a read of register 1 twice."""

    def answer_frame(self, request: bytes, frame: bytes) -> bytes:
        slow = self._pdu == b"\x03\x00\x01\x00\x01"
        return frame + frame if slow else frame

    def request(self, pdu: bytes) -> bytes:
        self._pdu = pdu
        return pdu


class FailsWhenBusy(Patch):
    """Says that it failed when it is busy."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return exception(pdu, 4) if answer is not None and is_exception(answer, 6) else answer


class WritesWhatItRefuses(Patch):
    """16: refuses one register in three bytes, and writes it."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        if pdu[0] == 16 and field(pdu, 3) == 1 and pdu[5] == 3:
            self.server(write_registers(field(pdu, 1), pdu[6:8]))
        return answer


class GivesUp(Patch):
    """Fails for ever after many refusals."""

    refused = 0

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        if self.refused <= ENOUGH:
            self.refused = self.refused + 1 if answer is not None and is_exception(answer) else 0
        elif answer is not None and not is_exception(answer):
            return exception(pdu, 4)
        return answer


SABOTEURS: dict[str, Saboteur] = {
    "EXC-01": answering(0x20, wrong_code),
    "EXC-02": answering(0x64, silence),
    "EXC-03": patched(TakesZeroForRead),
    "EXC-04": patched(OverlooksBit7),
    "EXC-05": patched(AnswersTwice),
    "EXC-06": patched(FailsWhenBusy),
    "EXC-08": answering(0x27, code_of_its_own),
    "EXC-09": patched(WritesWhatItRefuses),
    "EXC-10": patched(GivesUp),
}
