"""The usual patches: one that changes the answers of a function, one that changes its requests and hides that."""

from __future__ import annotations

from collections.abc import Callable

from .base import Saboteur, patched
from .patch import Patch, is_exception


def field(pdu: bytes, at: int) -> int:
    """The two bytes there, as a number; 0 if the PDU is too short."""
    return int.from_bytes(pdu[at : at + 2], "big") if len(pdu) >= at + 2 else 0


def answering(function: int, change: Callable[[bytes, bytes], bytes | None], *falls: str) -> Saboteur:
    """Changes the answers of one function: `change` gets request and answer."""

    class Answering(Patch):
        def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
            return change(pdu, answer) if pdu[0] == function and answer is not None else answer

    return patched(Answering, *falls)


def masquerading(function: int, change: Callable[[bytes], bytes], echo: int = 0, *falls: str) -> Saboteur:
    """Changes the requests of one function; of a normal answer the first `echo` bytes are those of the real request."""

    class Masquerading(Patch):
        def request(self, pdu: bytes) -> bytes:
            return change(pdu) if pdu[0] == function else pdu

        def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
            if pdu[0] != function or answer is None or is_exception(answer):
                return answer
            return pdu[:echo] + answer[echo:]

    return patched(Masquerading, *falls)
