"""Valid requests, damaged on purpose: the same ones for the same seed; and what is left of one that does harm.

Nothing that is sent may write, restart or silence a server, however wrongly it is read: a damaged request in whose PDU
any byte is the code of a function that can is not used.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

DANGEROUS = frozenset((5, 6, 8, 15, 16, 21, 22, 23, 43, 90))
"""Function codes that change something: writes, diagnostics, and what vendors configure devices by."""
HARMLESS = tuple(byte for byte in range(256) if byte & 0x7F not in DANGEROUS)


def mutated(valid: list[bytes], pdu_at: int, seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """That many damaged requests, with what was done to them; `pdu_at` is where the PDU begins."""
    chance = random.Random(seed)
    given = 0
    while given < count:
        what, frame = _damaged(chance, valid, pdu_at)
        if frame and frame not in valid and is_harmless(frame, pdu_at):
            given += 1
            yield what, frame


def is_harmless(frame: bytes, pdu_at: int) -> bool:
    """No byte from the PDU on is the code of a function that changes something."""
    return not DANGEROUS & {byte & 0x7F for byte in frame[pdu_at:]}


def _damaged(chance: random.Random, valid: list[bytes], pdu_at: int) -> tuple[str, bytes]:
    frame = bytearray(chance.choice(valid))
    match chance.randrange(5):
        case 0:
            for _ in range(chance.randint(1, 3)):
                frame[chance.randrange(len(frame))] ^= 1 << chance.randrange(8)
            return "bits flipped", bytes(frame)
        case 1:
            at = chance.randrange(max(pdu_at - 3, 0), len(frame))
            frame[at] = chance.choice((0x00, 0x01, 0x7F, 0x80, 0xFF))
            return f"byte {at} set to {frame[at]:02X}", bytes(frame)
        case 2:
            length = chance.randrange(1, len(frame))
            return f"cut short after {length} bytes", bytes(frame[:length])
        case 3:
            other = chance.choice(valid)
            at = chance.randrange(1, len(frame))
            return f"spliced at byte {at}", bytes(frame[:at] + other[chance.randrange(len(other)) :])
        case _:
            more = bytes(chance.choice(HARMLESS) for _ in range(chance.choice((1, 2, 16, 255))))
            return f"{len(more)} bytes more", bytes(frame) + more


def shrunk(frame: bytes, harms: Callable[[bytes], bool], tries: int = 40) -> bytes:
    """A shorter and plainer request that still does harm: pieces are left out, then bytes set to 0, while it does."""
    piece = max(len(frame) // 2, 1)
    while tries > 0:
        shorter = False
        for at in range(0, len(frame), piece):
            candidate = frame[:at] + frame[at + piece :]
            if candidate and tries > 0:
                tries -= 1
                if harms(candidate):
                    frame, shorter = candidate, True
                    break
        if not shorter and piece == 1:
            break
        piece = piece if shorter else max(piece // 2, 1)
    for at in range(len(frame)):
        candidate = frame[:at] + b"\0" + frame[at + 1 :]
        if candidate != frame and tries > 0:
            tries -= 1
            frame = candidate if harms(candidate) else frame
    return frame
