"""Servers that break what holds for every PDU."""

from __future__ import annotations

from .base import Saboteur, one

SABOTEURS: dict[str, Saboteur] = {
    "PDU-01": one("inputs_answered_as_holding", True, "PDU-05", "PDU-06"),
    "PDU-02": one("exception_extra_byte", True),
    "PDU-03": one("little_endian", True),
    "PDU-04": one("max_bits", 1999),
    "PDU-05": one("address_zero_missing", True),
    "PDU-06": one("end_off_by_one", True),
    "PDU-07": one("wrap_addresses", True),
    "PDU-08": one("judge_address_first", True),
    "PDU-09": one("judge_data_first", True),
    "PDU-10": one("failure_code", 2),
}
