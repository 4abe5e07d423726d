"""Gateways that do not pass on what they should."""

from __future__ import annotations

from .base import Saboteur, one

SABOTEURS: dict[str, Saboteur] = {
    "GW-01": one("silent_on_missing", True),
    "GW-02": one("silent_on_failure", True, "GW-09"),
    "GW-03": one("wrong_transaction", True, "GW-06"),
    "GW-04": one("parallel_on_wire", True, "GW-03"),  # where clients ask together, too
    "GW-06": one("late_to_next", True, "GW-08", "GW-09"),
    "GW-07": one("ignore_own_unit", True),
    "GW-08": one("swallow_exceptions", True),
    "GW-09": one("pass_damaged", True),
}
