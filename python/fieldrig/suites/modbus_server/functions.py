"""Which functions the server has: declared by its maker, or asked for.

The rules:
1. `functions` of the capabilities decides where it is given: what is not in it is not applicable, what is in it is
   there, and a row that finds it missing fails.
2. Otherwise the server is asked once for each function that a row needs, by something that changes nothing: a plain
   read, or a write of the value that stands there, at an address that may be written. Exception 01, or nothing at all,
   excludes the rows of that function.
"""

from __future__ import annotations

from .capabilities import TABLES
from .frames import Adu
from .outcome import Absent, Excluded, Inapplicable
from .pdus import OFF, ON, mask_write, packed, read_write, write_coil, write_coils, write_register, write_registers
from .server import Server
from .tables import exchange, place, read_once
from .writes import ask, run_of

READING = {function: table for table, function in TABLES.items()}
WRITING = {5: "coils", 6: "holding", 15: "coils", 16: "holding", 22: "holding", 23: "holding"}

_PLAIN = {
    7: bytes([7]),
    8: bytes([8, 0, 0, 0xA5, 0x37]),
    11: bytes([11]),
    12: bytes([12]),
    17: bytes([17]),
    20: bytes([20, 7, 6, 0, 1, 0, 0, 0, 1]),
    21: bytes([21, 0]),
    24: bytes([24, 0, 0]),
    43: bytes([43, 14, 1, 0]),
}
"""Requests that change nothing, for functions without a table: 21 names no record."""


def require(server: Server, function: int) -> None:
    """The row needs this function. Raises `Inapplicable` or `Excluded` if the server does not have it."""
    if server.capabilities.functions is not None:
        if function not in server.capabilities.functions:
            raise Inapplicable(f"function {function:02} is not among the declared ones")
        return
    if function in READING:
        place(server, READING[function])
        return
    missing = missing_because(server, function)
    if missing:
        raise Excluded(missing)


def missing_because(server: Server, function: int) -> str | None:
    """How it was found out that the server does not have a function; `None`: it has it."""
    if function not in server.asked:
        server.asked[function] = _asked(server, function)
    return server.asked[function]


def _asked(server: Server, function: int) -> str | None:
    what = f"function {function:02}"
    try:
        answer = _harmless(server, function, what)
    except Absent as absent:
        return str(absent)
    return f"{what} got {answer.says()}" if answer.exception == 1 else None


def _harmless(server: Server, function: int, what: str) -> Adu:
    """A request of the function that changes nothing."""
    table = WRITING.get(function)
    if table is None:
        return exchange(server, _PLAIN[function], what)
    address = run_of(server, table, 1)
    value = read_once(server, table, address, 1)[0]
    pdu = {
        5: lambda: write_coil(address, ON if value else OFF),
        6: lambda: write_register(address, value),
        15: lambda: write_coils(address, packed([value]), quantity=1),
        16: lambda: write_registers(address, [value]),
        22: lambda: mask_write(address, 0xFFFF, 0),
        23: lambda: read_write((address, 1), address, [value]),
    }[function]()
    return ask(server, table, address, 1, pdu, what)
