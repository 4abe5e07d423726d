"""Servers that break Modbus RTU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..carriers.rtu import crc, framed, taken_apart
from ..silences import silences
from .base import Saboteur, patched
from .device import LINE
from .patch import Patch, Pieces, exception, words

if TYPE_CHECKING:
    from fieldrig import Stamp

TIMES = silences(LINE)


def crc_differs_by(frame: bytes) -> int:
    """The bits in which the CRC of a frame is wrong."""
    return crc(frame[:-2]) ^ int.from_bytes(frame[-2:], "little")


class SwappedCrc(Patch):
    """Sends the CRC of an answer with two registers in the wrong order."""

    def answer_frame(self, request: bytes, frame: bytes) -> bytes:
        return frame[:-2] + frame[:-3:-1] if frame[1:3] == b"\x03\x04" else frame


class WrongCrcOfExceptions(Patch):
    """Sends exceptions to reads with a wrong CRC."""

    def answer_frame(self, request: bytes, frame: bytes) -> bytes:
        return frame[:-1] + bytes([frame[-1] ^ 1]) if frame[1] == 0x83 else frame


class RefusesAsAnother(Patch):
    """Exceptions come from unit 255."""

    def answer_frame(self, request: bytes, frame: bytes) -> bytes:
        return framed(255, frame[1:-2]) if frame[1] & 0x80 else frame


class IgnoresTopBit(Patch):
    """Does not look at the highest bit of the CRC."""

    def request_frame(self, frame: bytes) -> bytes | None:
        return framed(frame[0], frame[1:-2]) if crc_differs_by(frame) == 0x8000 else frame


class TakesSwappedCrc(Patch):
    """Takes a CRC whose bytes are swapped."""

    def request_frame(self, frame: bytes) -> bytes | None:
        swapped = frame[:-2] + frame[:-3:-1]
        return swapped if len(frame) > 3 and crc_differs_by(swapped) == 0 else frame


class AnswersFor(Patch):
    """Answers for other units."""

    def __init__(self, *units: int) -> None:
        self._units = units

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return self.ask_unit(1, pdu) if self.unit in self._units else answer


class IgnoresBroadcasts(Patch):
    """Does not do what is broadcast."""

    def request(self, pdu: bytes) -> bytes | None:
        return None if self.unit == 0 else pdu


class TakesByteCountZero(Patch):
    """Says that the address is wrong where a byte count is 0."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return exception(pdu, 2) if pdu[0] == 16 and pdu[5:6] == b"\0" else answer


class AnswersBroadcastReads(Patch):
    """Answers what is broadcast and can be read."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return self.ask_unit(1, pdu) if self.unit == 0 and pdu[0] in (1, 2, 3, 4) else answer


class WaitsForTheRest(Patch):
    """Takes a request for whole however long its pieces are apart."""

    longest = 1e9

    def pieces(self, parts: Pieces) -> Pieces | None:
        whole = b"".join(data for _, data in parts)
        if taken_apart(whole).problem is not None or any(pause > self.longest for pause, _ in parts[1:]):
            return parts
        return [(0.0, whole)]


class KnowsNoT15(WaitsForTheRest):
    """Notices no silence of less than t3.5."""

    longest = TIMES.between


class DropsAnyPause(Patch):
    """Drops a request as soon as two of its bytes do not follow each other at once."""

    def pieces(self, parts: Pieces) -> Pieces | None:
        short = all(0 < pause <= TIMES.inside for pause, _ in parts[1:])
        return None if short else parts


class Swallows(Patch):
    """Does not notice the end of what came before a request: the request is part of it."""

    def __init__(self, first: bytes, *, shortest: int = 1, pause: float = 1e9) -> None:
        self._first = first
        self._shortest = shortest
        self._pause = pause

    def pieces(self, parts: Pieces) -> Pieces | None:
        before, pause = parts[0][1], parts[1][0]
        fits = before.startswith(self._first) and len(before) >= self._shortest and pause <= self._pause
        request = taken_apart(parts[-1][1]).problem is None
        return [(0.0, b"".join(data for _, data in parts))] if fits and request and len(parts) == 2 else parts


class FindsRequestInNoise(Patch):
    """Looks for a request anywhere in a burst that begins with something else."""

    def request_frame(self, frame: bytes) -> bytes | None:
        if taken_apart(frame[:8]).problem is None:
            return frame
        found = next((at for at in range(1, len(frame) - 7) if taken_apart(frame[at:]).problem is None), 0)
        return frame[found:]


class AnswersFirstOfTwo(Patch):
    """Goes by length: takes the first of two requests that came as one burst."""

    def request_frame(self, frame: bytes) -> bytes | None:
        half = len(frame) // 2
        return frame[:half] if frame[:half] == frame[half:] else frame


class TooEarly(Patch):
    """Answers 1 ms after the request."""

    def instants(self, end_of_request: float, stamps: Sequence[Stamp]) -> Sequence[Stamp]:
        from fieldrig import Stamp

        begin = round((end_of_request + 0.001 + TIMES.character) * 1e9)
        earlier = stamps[0].latest_ns - begin
        return [Stamp(stamp.earliest_ns - earlier, stamp.latest_ns - earlier) for stamp in stamps]


class Hesitates(Patch):
    """Makes a pause of 1 ms inside an answer with more than one register."""

    def instants(self, end_of_request: float, stamps: Sequence[Stamp]) -> Sequence[Stamp]:
        from fieldrig import Stamp

        late = 1_000_000 if len(stamps) > 7 else 0
        return [*stamps[:4], *(Stamp(stamp.earliest_ns + late, stamp.latest_ns + late) for stamp in stamps[4:])]


class TakesLongFrames(Patch):
    """Takes the beginning of a frame that is too long for a request."""

    def request_frame(self, frame: bytes) -> bytes | None:
        return framed(frame[0], frame[1:6]) if len(frame) > 256 else frame


class AnswersEmptyFrames(Patch):
    """Answers a frame without a PDU with an exception to function 0."""

    def request_frame(self, frame: bytes) -> bytes | None:
        return framed(frame[0], b"\0") if len(frame) == 3 and crc_differs_by(frame) == 0 else frame


class KeepsSilentWithUnknownFunctions(Patch):
    """Does not know where a request with an unknown function ends."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return None if answer == exception(pdu, 1) and len(pdu) > 1 else answer


class MixesAnswers(Patch):
    """Sends the answer to the second request in the middle of a long one."""

    _rest = b""

    def answer_frame(self, request: bytes, frame: bytes) -> bytes:
        if words(request[1:-2])[1:] == (125,):
            self._rest = frame[100:]
            return frame[:100]
        mixed, self._rest = frame + self._rest, b""
        return mixed


class OneSegmentIsOneFrame(Patch):
    """Takes each segment for a frame of its own."""

    def pieces(self, parts: Pieces) -> Pieces | None:
        return None


SABOTEURS: dict[str, Saboteur] = {
    "RTU-01": patched(SwappedCrc),
    "RTU-01 in exceptions": patched(WrongCrcOfExceptions, "RTU-16"),  # which times one, too
    "RTU-01 unit of exceptions": patched(RefusesAsAnother),
    "RTU-02": patched(IgnoresTopBit),
    "RTU-03": patched(TakesSwappedCrc),
    "RTU-04": patched(lambda: AnswersFor(*range(200, 248))),
    "RTU-05": patched(IgnoresBroadcasts),
    "RTU-06": patched(AnswersBroadcastReads),
    "RTU-07": patched(lambda: AnswersFor(255)),
    "RTU-08": patched(WaitsForTheRest, "RTU-09"),
    "RTU-09": patched(KnowsNoT15),
    "RTU-10": patched(DropsAnyPause),
    "RTU-11": patched(lambda: Swallows(b"\x01\x03", shortest=2)),
    "RTU-12": patched(lambda: Swallows(b"\x55", shortest=3)),
    "RTU-13": patched(FindsRequestInNoise),
    "RTU-14": patched(AnswersFirstOfTwo),
    "RTU-15": patched(lambda: Swallows(b"\xf6\x03\x00", shortest=8, pause=1.5 * TIMES.between)),
    "RTU-16": patched(TooEarly),
    "RTU-17": patched(Hesitates),
    "RTU-18": patched(TakesLongFrames),
    "RTU-19": patched(AnswersEmptyFrames),
    "RTU-20": patched(TakesByteCountZero),
    "RTU-21": patched(KeepsSilentWithUnknownFunctions),
    "RTU-22": patched(lambda: Swallows(b"\xf6\x03\x04")),
    "RTU-26": Saboteur((("delay_answer", "200ms"),)),
    "RTU-27": Saboteur(patch=MixesAnswers, on="pty"),
    "RTU-28": Saboteur(patch=OneSegmentIsOneFrame, on="rtu+tcp"),
}
