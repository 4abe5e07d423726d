"""Servers that a client of the field cannot work with.

tokio-modbus counts its transaction ids from 0, on each connection anew; the suite's own are 0x1000 and more. So each of
these fails with tokio-modbus only, and with what one row is about.
"""

from __future__ import annotations

from .base import Saboteur, patched
from .patch import Patch

OWN = 0x1000
"""Transaction ids from here on are those of the suite."""


def transaction(frame: bytes) -> int:
    return int.from_bytes(frame[:2], "big")


def renumbered(frame: bytes) -> bytes:
    """The frame with another transaction id."""
    return (transaction(frame) ^ 0x0100).to_bytes(2, "big") + frame[2:]


class OfTheField(Patch):
    """Changes answers to one function, if tokio-modbus asked."""

    function = 0

    def answer_frame(self, request: bytes, frame: bytes) -> bytes:
        field = transaction(request) < OWN and self.function in (0, request[7])
        return self.changed(request, frame) if field else frame

    def changed(self, request: bytes, frame: bytes) -> bytes:
        """The answer instead."""
        raise NotImplementedError


class AnotherValue(OfTheField):
    """04: gives another value."""

    function = 4

    def changed(self, request: bytes, frame: bytes) -> bytes:
        return frame[:-1] + bytes([frame[-1] ^ 1])


class AnotherEcho(OfTheField):
    """06: writes, and echoes another value."""

    function = 6

    def changed(self, request: bytes, frame: bytes) -> bytes:
        return frame[:-1] + bytes([frame[-1] ^ 1])


class AnotherFunction(OfTheField):
    """Refuses in the name of another function."""

    def changed(self, request: bytes, frame: bytes) -> bytes:
        return frame[:7] + bytes([frame[7] ^ 1]) + frame[8:] if frame[7] & 0x80 else frame


class LosesCount(OfTheField):
    """Answers from transaction 50 on with another one."""

    def changed(self, request: bytes, frame: bytes) -> bytes:
        return renumbered(frame) if transaction(request) >= 50 else frame


class Confused(Patch):
    """Takes the same transaction id twice in a row for a mistake: it does not tell connections apart."""

    _latest = -1

    def answer_frame(self, request: bytes, frame: bytes) -> bytes:
        again = transaction(request) == self._latest
        self._latest = transaction(request)
        return renumbered(frame) if again else frame


class OneObjectMore(OfTheField):
    """43: counts one object more than there are."""

    function = 43

    def changed(self, request: bytes, frame: bytes) -> bytes:
        return frame[:13] + bytes([frame[13] + 1]) + frame[14:]


SABOTEURS: dict[str, Saboteur] = {
    "INT-01": patched(AnotherValue),
    "INT-02": patched(AnotherEcho),
    "INT-03": patched(AnotherFunction),
    "INT-04": patched(LosesCount),
    "INT-05": patched(Confused),
    "INT-06": patched(OneObjectMore),
}
