"""Keys and signatures on the curve P-256 (FIPS 186-4 D.1.2.3), for the certificates of a run and for nothing else.

This arithmetic is neither fast nor constant in time: who can watch it learns the keys, which are worth nothing.
"""

from __future__ import annotations

import hashlib
import secrets

PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
BASE = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)

Point = tuple[int, int] | None
"""A point of the curve; `None` is the one at infinity."""


def secret() -> int:
    """A new private key."""
    return 1 + secrets.randbelow(ORDER - 1)


def public(key: int) -> bytes:
    """The point that belongs to a private key, uncompressed (SEC 1 2.3.3)."""
    point = times(key, BASE)
    assert point is not None, "a private key is less than the order"
    return b"\x04" + point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")


def sign(key: int, message: bytes) -> tuple[int, int]:
    """ECDSA with SHA-256 (FIPS 186-4 6.4): r and s."""
    digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
    while True:
        once = secret()
        point = times(once, BASE)
        assert point is not None, "the same"
        r = point[0] % ORDER
        s = pow(once, -1, ORDER) * (digest + r * key) % ORDER
        if r and s:
            return r, s


def times(factor: int, point: Point) -> Point:
    """A point added to itself so many times."""
    total: Point = None
    while factor:
        if factor & 1:
            total = plus(total, point)
        point = plus(point, point)
        factor >>= 1
    return total


def plus(first: Point, second: Point) -> Point:
    """The sum of two points."""
    if first is None or second is None:
        return first or second
    (x1, y1), (x2, y2) = first, second
    if x1 == x2 and (y1 + y2) % PRIME == 0:
        return None
    if first == second:
        slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, PRIME) % PRIME
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, PRIME) % PRIME
    x = (slope * slope - x1 - x2) % PRIME
    return x, (slope * (x1 - x) - y1) % PRIME
