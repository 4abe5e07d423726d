"""Servers that do not bear much."""

from __future__ import annotations

from .base import Saboteur
from .patch import Patch


class Tires(Patch):
    """Loses the last of so many equal requests in a row."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._equal = 0
        self._latest = b""

    def request(self, pdu: bytes) -> bytes | None:
        self._equal = self._equal + 1 if pdu == self._latest else 1
        self._latest = pdu
        return None if self._equal % self._most == 0 else pdu


class Leaks(Patch):
    """Has room for so many connections in its life."""

    def __init__(self, room: int) -> None:
        self._room = room

    def opens(self) -> bool:
        self._room -= 1
        return self._room >= 0


class Stumbles(Patch):
    """Does not answer for a while after a request that is cut short behind its third byte or later."""

    _down = 0

    def request_frame(self, frame: bytes) -> bytes | None:
        if 3 <= len(frame) < 7:
            self._down = 2
            return None
        return frame

    def request(self, pdu: bytes) -> bytes | None:
        self._down = max(self._down - 1, 0)
        return None if self._down else pdu


class Hangs(Patch):
    """Answers nobody any more after a request that is cut short behind its third byte or later."""

    _hangs = False

    def request_frame(self, frame: bytes) -> bytes | None:
        self._hangs = self._hangs or 3 <= len(frame) < 7
        return None if self._hangs else frame

    def request(self, pdu: bytes) -> bytes | None:
        return None if self._hangs else pdu


class FewAtATime(Patch):
    """Serves nobody any more once four connections have sent a single byte each."""

    _held = 0

    def request_frame(self, frame: bytes) -> bytes | None:
        self._held += len(frame) == 1
        return frame

    def request(self, pdu: bytes) -> bytes | None:
        if self._held >= 4:
            return None
        self._held = 0
        return pdu


class DamagesEvery(Patch):
    """Damages every so many answers with three registers."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._seen = 0

    def answer_frame(self, request: bytes, frame: bytes) -> bytes:
        if frame[2] != 6:
            return frame
        self._seen += 1
        return frame[:-1] + bytes([frame[-1] ^ 1]) if self._seen % self._every == 0 else frame


SABOTEURS: dict[str, Saboteur] = {
    "ROB-01": Saboteur(patch=lambda: Tires(397)),
    "ROB-02": Saboteur((("drop_beyond", 12),)),
    "ROB-03": Saboteur(patch=lambda: Leaks(90), ends=True),
    "ROB-04": Saboteur(patch=Stumbles),
    "ROB-04 for good": Saboteur(patch=Hangs, ends=True),
    "ROB-05": Saboteur(patch=FewAtATime, ends=True),
    "ROB-06": Saboteur((("wedge_after_resets", 3),), ends=True),
    "ROB-07": Saboteur(patch=lambda: DamagesEvery(47), on="rtu"),
}
