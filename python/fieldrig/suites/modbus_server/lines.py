"""What rows on serial lines have in common: silences that a port can make and see, other units, frames by hand."""

from __future__ import annotations

from .carriers.rtu import crc
from .frames import Adu, is_normal
from .outcome import Absent, Inapplicable, Missed, NotRun, Undecided
from .server import READS_THAT_PROVE, Server, Talk
from .silences import Silences

LAST_UNIT = 247
CANDIDATES = 5
"""So many other units are asked."""


def silences_of(server: Server) -> Silences:
    """Those of the line. Raises `Inapplicable` if it has no speed."""
    if server.silences is None:
        raise Inapplicable("the line has no speed")
    return server.silences


def frame_end(server: Server, factor: float = 3.0) -> float:
    """A silence that surely ends a frame: more than t3.5, also for a port that delivers in lumps."""
    between = silences_of(server).between
    return max(factor * between, between + 5 * server.resolution)


def must_tell(server: Server, silence: float, what: str) -> None:
    """Raises `NotRun` if the port cannot tell whether a silence of this length was there."""
    if 2 * server.resolution > silence:
        raise NotRun(
            f"it must tell {what} ({silence * 1000:.3f} ms), and this port tells instants that are "
            f"{2 * server.resolution * 1000:.3g} ms apart (--resolution, if it was measured to be better)"
        )


def framed(body: bytes, wrong: int = 0) -> bytes:
    """Any bytes with their CRC, or one in which the bits of `wrong` are flipped."""
    return body + (crc(body) ^ wrong).to_bytes(2, "little")


def request_of(server: Server, pdu: bytes | None = None, unit: int | None = None) -> bytes:
    """Unit id and PDU, without CRC, of a request: a plain read of the server unless said otherwise."""
    return bytes([server.unit if unit is None else unit]) + (server.read() if pdu is None else pdu)


def foreign_units(server: Server, count: int = 1) -> list[int]:
    """Units that are not the server, as far as is known, from the top."""
    own = {server.unit, *server.capabilities.unit_ids}
    return [unit for unit in range(LAST_UNIT, 0, -1) if unit not in own][:count]


def absent_unit(server: Server) -> int:
    """A unit that does not answer a plain read, so that a request to it disturbs nobody. Raises `NotRun`."""
    for unit in foreign_units(server, CANDIDATES):
        talk = server.connect()
        talk.send(server.request(server.read(), unit=unit), note=f"is there a unit {unit}?")
        if not talk.anything():
            still_answered(server, f"a request to unit {unit}")  # it may have waited for the answer of that unit
            return unit
    raise NotRun(f"it needs a unit id that nobody has; {CANDIDATES} were asked, and all answer")


def silent(server: Server, frame: bytes, what: str, *, next_one: bool = False) -> None:
    """A frame must get no answer; a plain read behind it one, the very `next_one` if the row says so."""
    talk = server.connect()
    talk.send(frame, note=what)
    server.expect_silence(talk, what, next_one=next_one)


def answered_in_pieces(server: Server, talk: Talk, what: str, longer: float) -> None:
    """As `answered_normally`, of a request with pauses in it. If they became so much longer, nobody is accused."""
    try:
        answered_normally(server, talk, what)
    except Absent as absent:
        if talk.late > longer:
            raise Undecided(f"{absent}; but this machine made the pauses {talk.late * 1000:.3g} ms longer") from None
        raise


def answered_normally(server: Server, talk: Talk, what: str, other: int | None = None) -> Adu:
    """The next answer is the normal one to a plain read, comes from the server, and nothing follows it.

    Raises `Undecided` if a unit answers that did not when it was asked.
    """
    answer = server.expect(talk, what)
    if answer.unit == other:
        raise Undecided(f"{what} got an answer of unit {other}, which did not answer before")
    if not is_normal(answer, server.facts.function, 1):
        raise Missed(f"{what} got {answer.says()}, not the normal answer")
    if answer.unit != server.unit:
        raise Missed(f"{what} is answered as unit {answer.unit}, not {server.unit}")
    more = talk.anything(server.timing.settle)
    if more:
        raise Missed(f"{what} got its answer and {len(more)} more bytes: {more[:12].hex(' ')}")
    return answer


def still_answered(server: Server, after: str) -> None:
    """A plain read is answered, be it the third. Raises `Absent`."""
    if not server.still_answers(after, READS_THAT_PROVE):
        raise Absent(f"after {after} a plain read was not answered")
