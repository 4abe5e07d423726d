"""Servers that break a function for serial lines: 07, 08, 11, 12, 17."""

from __future__ import annotations

from collections.abc import Callable

from .base import Saboteur, patched
from .changes import answering, field
from .patch import Patch, exception, is_exception

RESTART, LISTEN = b"\x08\x00\x01", b"\x08\x00\x04"
FUNCTION_12 = ("FC12-01", "FC12-02", "FC12-03", "FC12-04")


def of(sub: int, change: Callable[[bytes, bytes], bytes], *falls: str) -> Saboteur:
    """Changes the answers of a sub-function of 08."""
    return answering(8, lambda pdu, answer: change(pdu, answer) if field(pdu, 1) == sub else answer, *falls)


def never_counts(pdu: bytes, answer: bytes) -> bytes:
    return answer if is_exception(answer) else answer[:3] + b"\x00\x00"


def one_byte_more(pdu: bytes, answer: bytes) -> bytes:
    return answer if is_exception(answer) else answer + b"\x00"


class Listens(Patch):
    """Knows whether the server is in listen-only mode."""

    listening = False

    def request(self, pdu: bytes) -> bytes | None:
        self.was_listening = self.listening
        if pdu[:3] in (RESTART, LISTEN):
            self.listening = pdu[:3] == LISTEN
        return pdu


class RestartsNothing(Listens):
    """08 0001: echoes a restart with 0000."""

    def request(self, pdu: bytes) -> bytes | None:
        super().request(pdu)
        skipped = pdu == RESTART + b"\x00\x00" and not self.was_listening
        return b"\x08\x00\x00\x00\x00" if skipped else pdu

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return pdu if pdu == RESTART + b"\x00\x00" and answer is not None else answer


class KeepsTheLog(Patch):
    """08 0001: takes FF00 for 0000."""

    def request(self, pdu: bytes) -> bytes | None:
        return RESTART + b"\x00\x00" if pdu == RESTART + b"\xff\x00" else pdu

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return pdu if pdu == RESTART + b"\xff\x00" and answer is not None else answer


class RestartsAnyway(Patch):
    """08 0001: takes 0001 for 0000."""

    def request(self, pdu: bytes) -> bytes | None:
        return RESTART + b"\x00\x00" if pdu == RESTART + b"\x00\x01" else pdu

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return pdu if pdu == RESTART + b"\x00\x01" and answer is not None else answer


class AnswersTheRestart(Listens):
    """08 0001: answers it in listen-only mode, too."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return pdu if self.was_listening and pdu[:3] == RESTART else answer


class EchoesWhileListening(Listens):
    """08 0000: answers it in listen-only mode, too."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return pdu if self.was_listening and pdu[:3] == b"\x08\x00\x00" else answer


def forgets_that_it_listened(pdu: bytes, answer: bytes) -> bytes:
    return answer[:8] + bytes(event & ~0x20 if event & 0x80 else event for event in answer[8:])


class ForgetsToClear(Patch):
    """08 000A: leaves the counter of exceptions as it is."""

    _left = 0

    def request(self, pdu: bytes) -> bytes | None:
        if pdu[:3] == b"\x08\x00\x0a":
            self._left += field(self.server(b"\x08\x00\x0d\x00\x00") or b"", 3)
        return pdu

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        if pdu[:3] != b"\x08\x00\x0d" or answer is None or is_exception(answer):
            return answer
        return answer[:3] + (field(answer, 3) + self._left).to_bytes(2, "big")


class HearsOnlyItself(Patch):
    """Does not notice messages for others."""

    def request(self, pdu: bytes) -> bytes | None:
        return pdu if self.unit in (0, 1) else None


class HearsOnlyWhatIsRight(Patch):
    """Does not notice messages with a wrong checksum."""

    def request_frame(self, frame: bytes) -> bytes | None:
        return None


def takes_data(pdu: bytes, answer: bytes) -> bytes:
    return pdu[:3] + b"\x00\x01" if field(pdu, 3) == 1 else answer


class CountsExceptions(Patch):
    """11: counts exceptions, too."""

    _sent = 0

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        if answer is not None and is_exception(answer):
            self._sent += 1
        if pdu[0] != 11 or answer is None or is_exception(answer):
            return answer
        return answer[:3] + ((field(answer, 3) + self._sent) % 0x10000).to_bytes(2, "big")


def shorter(pdu: bytes, answer: bytes) -> bytes:
    events = answer[8:][:63]
    return answer[:1] + bytes([6 + len(events)]) + answer[2:8] + events


SABOTEURS: dict[str, Saboteur] = {
    "FC07-01": answering(7, lambda pdu, answer: answer + b"\x00"),
    "FC07-02": Saboteur(patch=answering(7, lambda pdu, answer: exception(pdu, 3)).patch, on="memory"),
    "FC08-00": of(0x00, lambda pdu, answer: answer[:-1] + b"\x00" if answer[-1:] == b"\x37" else answer),
    "FC08-01": patched(RestartsNothing),
    "FC08-02": patched(KeepsTheLog),
    "FC08-03": patched(RestartsAnyway),
    "FC08-04": patched(AnswersTheRestart),
    "FC08-05": of(0x02, one_byte_more, "FC08-09"),  # which reads the register, too
    "FC08-06": Saboteur(patch=of(0x03, lambda pdu, answer: answer[:3] + b"\x00\x00").patch, on="ascii"),
    "FC08-07": patched(EchoesWhileListening),
    "FC08-08": answering(12, forgets_that_it_listened),
    "FC08-09": patched(ForgetsToClear),
    "FC08-10": patched(HearsOnlyItself),
    "FC08-11": patched(HearsOnlyWhatIsRight),
    "FC08-12": of(0x0D, never_counts),
    "FC08-13": of(0x0E, never_counts),
    "FC08-14": of(0x0F, never_counts),
    "FC08-15": of(0x10, one_byte_more, "FC08-09"),  # which reads all counters
    "FC08-16": of(0x14, lambda pdu, answer: answer[:3] + b"\xff\xff"),
    "FC08-17": of(0x16, lambda pdu, answer: pdu),
    "FC08-18": of(0x0B, takes_data),
    "FC11-01": answering(11, lambda pdu, answer: b"\x0b\x00\x01" + answer[3:], "FC11-02", "FC11-03"),  # all read it
    "FC11-02": answering(11, lambda pdu, answer: answer[:3] + b"\x00\x05"),
    "FC11-03": patched(CountsExceptions),
    "FC12-01": answering(12, lambda pdu, answer: b"\x0c\x05" + answer[2:7], *FUNCTION_12[1:]),  # all read it
    "FC12-02": answering(12, lambda pdu, answer: answer[:8] + answer[8:][::-1]),
    "FC12-03": answering(12, shorter),
    "FC12-04": answering(12, lambda pdu, answer: answer[:6] + bytes([answer[6], answer[7] ^ 0x07]) + answer[8:]),
    "FC17-01": answering(17, lambda pdu, answer: answer[:-1] + b"\x55"),
    "FC17-02": Saboteur(patch=answering(17, lambda pdu, answer: exception(pdu, 3)).patch, on="memory"),
}
