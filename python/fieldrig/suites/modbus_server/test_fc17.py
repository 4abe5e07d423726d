"""Function 17, Report Server ID: for serial lines."""

from __future__ import annotations

import pytest

from .outcome import Missed
from .server import Server
from .tables import exchange
from .test_fc07_diagnostics import must_not_be_known

INDICATORS = (0x00, 0xFF)


@pytest.mark.requirement("FC17-01")
def test_server_id_is_as_long_as_it_says_and_has_a_run_indicator(server: Server) -> None:
    pdu = exchange(server, bytes([17]), "function 17").pdu
    if pdu[0] != 17 or len(pdu) < 3 or pdu[1] != len(pdu) - 2:
        raise Missed(f"function 17 got {pdu[:12].hex(' ').upper()} ({len(pdu)} bytes): the byte count covers the rest")
    name = server.capabilities.server_id
    if name is None:
        if not any(byte in INDICATORS for byte in pdu[2:]):  # how long the id is, only the maker knows
            raise Missed(f"no run indicator (00 or FF) in {pdu[2:].hex(' ').upper()}")
    elif pdu[2 : 2 + len(name)] != name or pdu[2 + len(name) : 3 + len(name)] not in (b"\x00", b"\xff"):
        raise Missed(f"{pdu[2:].hex(' ').upper()} is not the declared id, then a run indicator (00 or FF)")


@pytest.mark.requirement("FC17-02")
def test_without_function_17_it_gets_exception_01(server: Server) -> None:
    must_not_be_known(server, 17)
