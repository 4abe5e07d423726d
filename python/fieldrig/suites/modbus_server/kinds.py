"""Requests whose answers show what holds for every answer: normal ones and exceptions, of reads and of writes.

Rules of this file:
- What writes is sent only where it may be written, and writes what stands there. Ask for the requests before you
  connect: they are made by reading.
- Whether a request is answered, and refused, is the business of other rows: what comes is looked at as it is.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from .frames import Adu, read_pdu
from .outcome import Absent, Missed
from .pdus import mask_write, packed, read_write, write_coil, write_coils, write_register, write_registers
from .server import BUSY, BUSY_WAITS, READS_THAT_PROVE, Server, Talk
from .tables import last_of, read_once
from .writes import keep, spend

UNASSIGNED = 0x26
"""A public function code that was never assigned, not even in older devices: asking for it is safe."""


@dataclass(frozen=True)
class Kind:
    """A request."""

    what: str
    pdu: bytes
    writes: tuple[str, int, int] | None = None
    """Table, address and how far a wrong server could write."""
    certain: bool = False
    """It must be answered."""


def kinds(server: Server) -> list[Kind]:
    """A valid read, one that is refused, an unknown function; a valid write and one that is refused, if permitted."""
    found = [
        Kind("a valid read", server.read(), certain=True),
        Kind("a read of quantity 0", server.read(0)),
        Kind(f"function {UNASSIGNED:02X}, which nobody has,", bytes([UNASSIGNED])),
    ]
    with contextlib.suppress(Missed):  # what cannot be read is not written
        address = server.permission.run("holding", 1)
        if address is not None:
            found += _register_writes(address, read_once(server, "holding", address, 1)[0])
        coil = server.permission.run("coils", 1)
        if coil is not None:
            found.append(_coil_write(coil, read_once(server, "coils", coil, 1)[0]))
    return _kept(server, found)


def _register_writes(address: int, value: int) -> list[Kind]:
    place = ("holding", address, 1)
    return [
        Kind("a write with function 06", write_register(address, value), place),
        Kind("a write with function 16", write_registers(address, [value]), place),
        Kind("a write of quantity 0", write_registers(address, []), place),
    ]


def _coil_write(coil: int, bit: int) -> Kind:
    return Kind("a write with function 15", write_coils(coil, packed([bit]), quantity=1), ("coils", coil, 1))


def errors(server: Server) -> list[Kind]:
    """Requests that a right server refuses, by as many functions as it may have."""
    found = [
        Kind("quantity 0", server.read(0)),
        Kind("quantity FFFF", server.read(0xFFFF)),
        Kind("address FFFF, quantity 2", server.read(2, 0xFFFF)),
        Kind("an unassigned function", bytes([UNASSIGNED])),
        *(Kind(f"quantity 0 of function {function:02}", read_pdu(function, 0, 0)) for function in (1, 2, 3, 4)),
        *_refused_coils(server),
        *_refused_registers(server),
    ]
    declared = server.capabilities.functions or ()
    others = {
        8: ("sub-function 0005 of function 08", bytes([8, 0, 5, 0, 0])),
        20: ("byte count 0 of function 20", bytes([20, 0])),
        43: ("code 00 of function 43", bytes([43, 14, 0, 0])),
    }
    return _kept(server, found) + [Kind(*other) for function, other in others.items() if function in declared]


def _kept(server: Server, found: list[Kind]) -> list[Kind]:
    """What may be written is kept now: while a row has a connection there may be room for no other."""
    for kind in found:
        if kind.writes is not None:
            keep(server, *kind.writes)
    return found


def _refused_coils(server: Server) -> list[Kind]:
    coil = server.permission.run("coils", 1)
    if coil is None:
        return []
    return [
        Kind("1234 to function 05", write_coil(coil, 0x1234), ("coils", coil, 1)),
        Kind("quantity 0 of function 15", write_coils(coil, b"", quantity=0), ("coils", coil, 1)),
    ]


def _refused_registers(server: Server) -> list[Kind]:
    address, last = server.permission.run("holding", 1), last_of(server, "holding")
    if address is None:
        return []
    found = [
        Kind("quantity 0 of function 16", write_registers(address, []), ("holding", address, 1)),
        Kind("quantity 0 of function 23", read_write((address, 0), address, []), ("holding", address, 1)),
    ]
    if last is not None and last < 0xFFFF:
        place = ("holding", last + 1, 1)
        found.append(Kind("a missing register to function 06", write_register(last + 1, 0), place))
        found.append(Kind("a missing register to function 22", mask_write(last + 1, 0xFFFF, 0), place))
    return found


def sent(server: Server, talk: Talk, kind: Kind, transaction: int | None = None) -> tuple[Talk, Adu | None]:
    """Sends it, and gives the answer if one comes, and the connection to go on with.

    Raises `Absent` if none comes to what must be answered, or what comes is no frame; `NotRun` if too much was written.
    """
    request = server.request(kind.pdu, transaction=transaction)
    if kind.certain:
        return server.ask_on(talk, request, kind.what)
    talk, answer = _sent_once(server, talk, kind, request)
    if answer is None and talk.ended:  # it may have ended before
        talk, answer = _sent_once(server, server.connect(), kind, request)
    if answer is None and server.carrier.line:  # it may wait for more: the next request must not be that
        server.still_answers(kind.what, READS_THAT_PROVE)
    if answer is None and not talk.ended and not server.carrier.line:  # what comes late is no answer to the next one
        talk.close()
        talk = server.connect()
    if answer is not None and answer.problem is not None:  # as in `Server.expect`
        raise Absent(f"{kind.what} got {answer.says()}")
    return talk, answer


def _sent_once(server: Server, talk: Talk, kind: Kind, request: bytes) -> tuple[Talk, Adu | None]:
    if kind.writes is not None:
        spend(server)
    for wait in BUSY_WAITS:
        talk.send(request, note=kind.what)
        answer = talk.answer()
        if answer is None or answer.exception not in BUSY:
            break
        server.busy += 1
        server.clock.sleep(wait)
    return talk, answer
