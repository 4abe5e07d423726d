"""Servers that break Modbus ASCII."""

from __future__ import annotations

import re

from ..carriers.ascii import END, LONGEST, framed, lrc, taken_apart
from .base import Saboteur, patched
from .patch import Patch, Pieces


def binary(frame: bytes) -> bytes | None:
    """Unit id, PDU and LRC of a frame of digits."""
    digits = re.fullmatch(rb":((?:[0-9A-F]{2})+)\r\n", frame)
    return bytes.fromhex(digits[1].decode()) if digits else None


class LowerCase(Patch):
    """Answers with lower-case digits."""

    def answer_frame(self, request: bytes, frame: bytes) -> bytes:
        return frame.lower()


class RefusesAsAnother(Patch):
    """Exceptions come from unit 255."""

    def answer_frame(self, request: bytes, frame: bytes) -> bytes:
        octets = binary(frame)
        return framed(255, octets[1:-1]) if octets is not None and octets[1] & 0x80 else frame


class IgnoresTopBit(Patch):
    """Does not look at the highest bit of the LRC."""

    def request_frame(self, frame: bytes) -> bytes | None:
        octets = binary(frame)
        if octets is not None and octets[-1] ^ lrc(octets[:-1]) == 0x80:
            return framed(octets[0], octets[1:-1])
        return frame


class OnesComplement(Patch):
    """Forgets to add one to the LRC of answers with three registers."""

    def answer_frame(self, request: bytes, frame: bytes) -> bytes:
        octets = binary(frame)
        if octets is None or octets[1:3] != b"\x03\x06":
            return frame
        wrong = octets[:-1] + bytes([octets[-1] - 1 & 0xFF])
        return b":" + wrong.hex().upper().encode() + END


class OnesComplementOfExceptions(Patch):
    """Forgets to add one to the LRC of exceptions to reads."""

    def answer_frame(self, request: bytes, frame: bytes) -> bytes:
        octets = binary(frame)
        if octets is None or octets[1] != 0x83:
            return frame
        return b":" + (octets[:-1] + bytes([octets[-1] - 1 & 0xFF])).hex().upper().encode() + END


class OneColonOnly(Patch):
    """Takes a second colon for an error of the whole burst."""

    def request_frame(self, frame: bytes) -> bytes | None:
        return None if frame.count(b":") > 1 else frame


class Impatient(Patch):
    """Drops a request when its characters are more than half a second apart."""

    def pieces(self, parts: Pieces) -> Pieces | None:
        return None if any(0.5 < pause <= 1.0 for pause, _ in parts[1:]) else parts


class WaitsForEver(Patch):
    """Takes a request for whole however far its characters are apart."""

    def pieces(self, parts: Pieces) -> Pieces | None:
        return [(0.0, b"".join(data for _, data in parts))]


class TakesAnyLetter(Patch):
    """Takes a letter that is no digit for a 0."""

    def request_frame(self, frame: bytes) -> bytes | None:
        likely = frame.replace(b"G", b"0")
        return likely if taken_apart(likely).problem is None else frame


class LineFeedIsEnough(Patch):
    """Takes LF for the end of a frame."""

    def request_frame(self, frame: bytes) -> bytes | None:
        return frame[:-1] + END if frame.endswith(b"\n") and not frame.endswith(END) else frame


class TakesLongFrames(Patch):
    """Takes the beginning of a frame that is too long for a request."""

    def request_frame(self, frame: bytes) -> bytes | None:
        octets = binary(frame)
        return framed(octets[0], octets[1:6]) if octets is not None and len(frame) > LONGEST else frame


class WantsTheColonFirst(Patch):
    """Drops a burst that does not begin with a colon."""

    def request_frame(self, frame: bytes) -> bytes | None:
        return None if frame.find(b":") > 0 and frame.endswith(END) else frame


class KeepsItsDelimiter(Patch):
    """Echoes a change of the delimiter, and goes on with LF."""

    def request(self, pdu: bytes) -> bytes | None:
        return None if pdu[:3] == b"\x08\x00\x03" else pdu

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return pdu if pdu[:3] == b"\x08\x00\x03" else answer


class AnswersBroadcasts(Patch):
    """Answers what is broadcast."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return pdu[:5] if self.unit == 0 else answer


SABOTEURS: dict[str, Saboteur] = {
    "ASC-01": patched(LowerCase),
    "ASC-01 unit of exceptions": patched(RefusesAsAnother),
    "ASC-02": patched(IgnoresTopBit),
    "ASC-03": patched(OnesComplement),
    "ASC-03 in exceptions": patched(OnesComplementOfExceptions, "ASC-01"),  # which looks at one, too
    "ASC-04": patched(OneColonOnly),
    "ASC-05": patched(Impatient),
    "ASC-06": patched(WaitsForEver),
    "ASC-07": patched(TakesAnyLetter),
    "ASC-08": patched(LineFeedIsEnough),
    "ASC-10": patched(TakesLongFrames),
    "ASC-12": patched(WantsTheColonFirst),
    "ASC-13": patched(KeepsItsDelimiter),
    "ASC-14": patched(AnswersBroadcasts),
}
