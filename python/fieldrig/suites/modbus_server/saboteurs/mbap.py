"""Servers that break the framing of Modbus/TCP, or TCP."""

from __future__ import annotations

from collections.abc import Callable

from .base import Saboteur, one, patched
from .patch import Patch, is_exception

UNIT = 6


class ClosesBehindExceptions(Patch):
    """Closes the connection behind every exception."""

    def closes(self, answer: bytes) -> bool:
        return is_exception(answer)


def header(of: Callable[[bytes], bool], at: int, change: Callable[[int], int]) -> Saboteur:
    """Changes a byte of the header of answers with such a PDU."""

    class OtherHeader(Patch):
        def answer_frame(self, request: bytes, frame: bytes) -> bytes:
            if len(frame) < 9 or not of(frame[7:]):
                return frame
            return frame[:at] + bytes([change(frame[at]) & 0xFF]) + frame[at + 1 :]

    return patched(OtherHeader)


def refusals_of_writes(pdu: bytes) -> bool:
    return pdu[0] in (0x85, 0x86, 0x8F, 0x90)


def answers_to_writes(pdu: bytes) -> bool:
    return pdu[0] in (5, 6, 15, 16)


SABOTEURS: dict[str, Saboteur] = {
    "MBAP-01": one("transaction_ids", "fifteen_bits"),
    "MBAP-01 in exceptions": header(is_exception, 0, lambda high: high & 0x7F),
    "MBAP-02": one("protocol_id", 1),
    "MBAP-02 in refusals of writes": header(refusals_of_writes, 3, lambda low: 1),
    "MBAP-03": one("length_delta", -1),
    "MBAP-03 in exceptions": header(is_exception, 5, lambda low: low + 1),
    "MBAP-04": one("answer_unit", 1),
    "MBAP-04 in exceptions": header(is_exception, UNIT, lambda unit: 255),
    "MBAP-04 in answers to writes": header(answers_to_writes, UNIT, lambda unit: 255),
    "MBAP-05": one("answer_foreign_protocol", True),
    "MBAP-06": one("lose_lone_first_byte", True),
    "MBAP-07": one("lose_short_first_read", True),
    "MBAP-08": one("answer_only_first_of_segment", True, "MBAP-09", "MBAP-10"),
    "MBAP-09": one("deaf_while_busy", "20ms"),
    "MBAP-10": one("drop_beyond", 8),
    "MBAP-12": one("answer_length_zero", True),
    "MBAP-13": one("answer_empty_pdu", True),
    "MBAP-14": one("accept_long", True),
    "MBAP-15": one("wedge_on_huge_length", True, ends=True),
    "MBAP-16": one("impatient", "60ms"),
    "MBAP-17": one("trailing_as_next", True, "MBAP-20"),
    "MBAP-18": one("answer_truncated", True),
    "MBAP-19": one("deaf_to_next_connection", "length", "MBAP-15"),
    "MBAP-20": one("deaf_after_malformed", "truncated"),
    "MBAP-20 behind exceptions": patched(ClosesBehindExceptions),
    "MBAP-21": one("greeting", "ready\r\n"),
    "MBAP-22": one("max_connections", 1, "MBAP-23"),
    "MBAP-23": one("beyond_maximum", "close_all"),
    "MBAP-24": one("close_on_half_close", True),
    "MBAP-25": one("wedge_after_resets", 50, ends=True),
    "MBAP-25 at last": one("wedge_after_resets", 100, ends=True),
    "MBAP-26": one("idle_close", "400ms"),
    "MBAP-27": one("answers_apart", "40ms"),
    "MBAP-28": one("ignore_access_list", True),
    "MBAP-30": one("ignore_unit_255", True),
    "MBAP-31": one("unit_zero_is_broadcast", True),
}
