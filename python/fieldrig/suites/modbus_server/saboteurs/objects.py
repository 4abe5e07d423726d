"""Servers that break functions 20 and 21 (records of files), 24 (queues) or 43 (identification)."""

from __future__ import annotations

from .base import Saboteur, patched
from .changes import answering, masquerading
from .patch import Patch, exception, is_exception

TWO_WORDS_EACH = 22
ONE_WORD_EACH = 18
"""The byte count of function 21 with two groups."""


def other_reference(pdu: bytes, answer: bytes) -> bytes:
    return answer if pdu[1] != 14 or is_exception(answer) else answer[:3] + b"\x07" + answer[4:]


def eighth_byte_overlooked(pdu: bytes, answer: bytes) -> bytes:
    return b"\x14\x04\x03\x06\x00\x00" if pdu[1] == 8 else answer


def any_reference(pdu: bytes) -> bytes:
    return pdu[:2] + b"\x06" + pdu[3:] if pdu[2:3] == b"\x07" else pdu


def file_zero_is_four(pdu: bytes) -> bytes:
    return pdu[:3] + b"\x00\x04" + pdu[5:] if pdu[3:5] == b"\x00\x00" else pdu


class Truncates(Patch):
    """20: gives the first group only if all do not fit."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        if pdu[0] == 20 and pdu[1] == 14 and answer is not None and is_exception(answer, 3):
            return self.server(b"\x14\x07" + pdu[2:9])
        return answer


def first_group_only(pdu: bytes) -> bytes:
    return b"\x15\x0b" + pdu[2:13] if pdu[1] == TWO_WORDS_EACH else pdu


def tenth_byte_overlooked(pdu: bytes) -> bytes:
    return b"\x15\x09" + pdu[2:11] if pdu[1] == 10 else pdu


class WritesGroupByGroup(Patch):
    """21: the first group is written before the second is judged."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        if pdu[0] == 21 and pdu[1] == ONE_WORD_EACH and answer is not None and is_exception(answer, 2):
            self.server(b"\x15\x09" + pdu[2:11])
        return answer


def count_left_out(pdu: bytes, answer: bytes) -> bytes:
    return answer if is_exception(answer) else answer[:1] + (len(answer) - 5).to_bytes(2, "big") + answer[3:]


def first_31(pdu: bytes, answer: bytes) -> bytes:
    return b"\x18\x00\x40\x00\x1f" + bytes(62) if is_exception(answer, 3) else answer


class TakesOut(Patch):
    """24: a register that was read is gone."""

    _gone = 0

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        if pdu[0] != 24 or answer is None or is_exception(answer) or len(answer) == 5:
            return answer
        data = answer[5 + 2 * self._gone :]
        self._gone += 1
        return b"\x18" + (2 + len(data)).to_bytes(2, "big") + (len(data) // 2).to_bytes(2, "big") + data


def revision_missing(pdu: bytes, answer: bytes) -> bytes:
    if pdu[:3] != b"\x2b\x0e\x01" or is_exception(answer):
        return answer
    vendor = answer[7 : 9 + answer[8]]
    code = answer[7 + len(vendor) :]
    return answer[:6] + b"\x02" + vendor + code[: 2 + code[1]]


def extended_among_regular(pdu: bytes, answer: bytes) -> bytes:
    last = pdu[2] in (2, 3) and not is_exception(answer) and not answer[4]
    return answer[:6] + bytes([answer[6] + 1]) + answer[7:] + b"\x80\x01X" if last else answer


def more_follows_alone(pdu: bytes, answer: bytes) -> bytes:
    return answer if pdu[2] != 4 or is_exception(answer) else answer[:4] + b"\xff" + answer[5:]


def code(number: int, becomes: int) -> Saboteur:
    """Takes one code for another, and hides it."""
    return masquerading(43, lambda pdu: pdu[:2] + bytes([becomes]) + pdu[3:] if pdu[2] == number else pdu, 3)


def skips_one(pdu: bytes) -> bytes:
    return pdu[:3] + bytes([pdu[3] + 1]) if pdu[2] in (2, 3) and pdu[3] else pdu


def next_is_three(pdu: bytes, answer: bytes) -> bytes:
    return answer if pdu[2] != 1 or is_exception(answer) else answer[:5] + b"\x03" + answer[6:]


def says_code_one(pdu: bytes, answer: bytes) -> bytes:
    return answer if pdu[2] != 2 or is_exception(answer) else answer[:2] + b"\x01" + answer[3:]


SABOTEURS: dict[str, Saboteur] = {
    "FC20-01": answering(20, other_reference),
    "FC20-02": answering(20, eighth_byte_overlooked),
    "FC20-03": masquerading(20, any_reference),
    "FC20-04": masquerading(20, file_zero_is_four),
    "FC20-05": patched(Truncates),
    "FC21-01": masquerading(21, first_group_only, 255),
    "FC21-02": masquerading(21, tenth_byte_overlooked, 255),
    "FC21-03": patched(WritesGroupByGroup),
    "FC24-01": answering(24, count_left_out, "FC24-04"),  # which reads queues, too
    "FC24-02": answering(24, first_31),
    "FC24-03": answering(24, lambda pdu, answer: exception(pdu, 3) if pdu[1] == 0xFF else answer),
    "FC24-04": patched(TakesOut),
    "FC43-01": answering(43, revision_missing),
    "FC43-02": answering(43, extended_among_regular),
    "FC43-03": answering(43, more_follows_alone),
    "FC43-04": answering(43, lambda pdu, answer: exception(pdu, 3) if is_exception(answer, 2) else answer),
    "FC43-05": answering(43, lambda pdu, answer: exception(pdu, 2) if pdu[2] == 1 and pdu[3] else answer),
    "FC43-06": code(5, 1),
    "FC43-07": code(3, 1),
    "FC43-08": masquerading(43, skips_one),
    "FC43-09": answering(43, next_is_three),
    "FC43-10": answering(43, lambda pdu, answer: exception(pdu, 3) if pdu[1] == 0x0F else answer),
    "FC43-11": answering(43, says_code_one),
}
