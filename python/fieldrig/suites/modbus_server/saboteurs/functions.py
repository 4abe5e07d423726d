"""Servers that break a single function."""

from __future__ import annotations

from .base import Saboteur, one

SABOTEURS: dict[str, Saboteur] = {
    "FC03-01": one("max_registers", 124, "PDU-04", "PDU-07"),
    "FC03-02": one("accept_quantity_zero", True),
    "FC03-03": one("byte_count_overflow", True),
    "FC03-04": one("invent_missing", True),
    "FC03-05": one("tear", True),
}
