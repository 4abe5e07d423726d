"""Servers that break what holds for every PDU."""

from __future__ import annotations

from .base import Saboteur, patched
from .patch import Patch, exception, is_exception, words

ANSWERED_ANYWAY = bytes(250)


class InputsAsHolding(Patch):
    """Answers function 04 with function code 03."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return b"\x03" + answer[1:] if answer is not None and answer[0] == 4 else answer


class LongExceptions(Patch):
    """Adds a byte to exceptions."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return answer + b"\0" if answer is not None and is_exception(answer) else answer


class RefusesWritesAsReads(Patch):
    """Exceptions to functions that write carry the code of function 03."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        writes = answer is not None and is_exception(answer) and pdu[0] in (5, 6, 15, 16, 22, 23)
        return b"\x83" + answer[1:] if writes and answer is not None else answer


class LittleEndian(Patch):
    """Sends the low byte of a register first."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        if answer is None or answer[0] not in (3, 4):
            return answer
        return answer[:2] + b"".join(answer[at : at + 2][::-1] for at in range(2, len(answer), 2))


class FewerBits(Patch):
    """Refuses to read more than 1999 coils or discrete inputs."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return exception(pdu, 3) if pdu[0] in (1, 2) and words(pdu)[1:] == (2000,) else answer


class NoAddressZero(Patch):
    """Has no address 0 in any table when it is asked for alone."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return exception(pdu, 2) if pdu[0] in (1, 2, 3, 4) and words(pdu) == (0, 1) else answer


class OneTooMany(Patch):
    """Allows a read of two to go one item past the end of a table."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        if answer is None or not is_exception(answer, 2) or pdu[0] not in (1, 2, 3, 4) or words(pdu)[1:] != (2,):
            return answer
        one = self.server(pdu[:4] + b"\x01")
        if one is None or is_exception(one):
            return answer
        return one if pdu[0] in (1, 2) else bytes([pdu[0], 4]) + one[2:] + b"\0\0"


class Wraps(Patch):
    """Goes on at address 0 after FFFF."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        first, quantity = (*words(pdu), 0, 0)[:2]
        if pdu[0] not in (1, 2, 3, 4) or first != 0xFFFF or not 2 <= quantity <= 125:
            return answer
        count = 2 * quantity if pdu[0] in (3, 4) else (quantity + 7) // 8
        return bytes([pdu[0], count]) + ANSWERED_ANYWAY[:count]


class AddressFirst(Patch):
    """Judges the address before the quantity."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        wrong = answer is not None and is_exception(answer, 3) and words(pdu)[:1] == (0xFFFF,)
        return exception(pdu, 2) if wrong else answer


class DataFirst(Patch):
    """Judges the data of functions that it does not know before the function."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return exception(pdu, 3) if answer is not None and is_exception(answer, 1) and len(pdu) > 1 else answer


class FailsWithTwo(Patch):
    """Says of an inner failure that the address is wrong."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return exception(pdu, 2) if answer is not None and is_exception(answer, 4) else answer


SABOTEURS: dict[str, Saboteur] = {
    "PDU-01": patched(InputsAsHolding, "PDU-05", "PDU-06", "FC04-01", "FC04-02", "FC04-03", "FC04-04"),
    "PDU-02": patched(LongExceptions, "EXC-03", "EXC-04"),  # which want an exception or nothing
    "PDU-02 of writes": patched(RefusesWritesAsReads),
    "PDU-03": patched(LittleEndian),
    "PDU-04": patched(FewerBits, "FC01-01", "FC02-01"),
    "PDU-05": patched(NoAddressZero),
    "PDU-06": patched(OneTooMany),
    "PDU-07": patched(Wraps),
    "PDU-08": patched(AddressFirst),
    "PDU-09": patched(DataFirst, "EXC-01", "EXC-02"),
    "PDU-10": patched(FailsWithTwo),
}
