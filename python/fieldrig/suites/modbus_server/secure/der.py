"""What of a certificate rows look at: names and the kind of its key. Lengths are walked, nothing is interpreted."""

from __future__ import annotations

from collections.abc import Iterator

RSA = bytes.fromhex("2a864886f70d010101")
EC = bytes.fromhex("2a8648ce3d0201")


def elements(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Tag, content and whole of each element of a DER content. Raises `ValueError` where it is none."""
    at = 0
    while at < len(content):
        tag, first, start = content[at], content[at + 1] if at + 1 < len(content) else 0, at + 2
        length = first
        if first & 0x80:
            count = first & 0x7F
            length, start = int.from_bytes(content[start : start + count], "big"), start + count
        end = start + length
        if end > len(content):
            raise ValueError(f"an element of {length} bytes at offset {at}, {len(content) - start} follow")
        yield tag, content[start:end], content[at:end]
        at = end


def _signed(certificate: bytes) -> list[tuple[int, bytes, bytes]]:
    """The fields of what is signed, without the version (RFC 5280 4.1)."""
    _, whole, _ = next(elements(certificate))
    _, signed, _ = next(elements(whole))
    return [field for field in elements(signed) if field[0] != 0xA0]


def issuer_of(certificate: bytes) -> bytes:
    """The name of who signed it, as it stands there."""
    return _signed(certificate)[2][2]


def subject_of(certificate: bytes) -> bytes:
    """The name it is for, as it stands there."""
    return _signed(certificate)[4][2]


def self_signed(certificate: bytes) -> bool:
    return issuer_of(certificate) == subject_of(certificate)


def key_of(certificate: bytes) -> str:
    """`rsa`, `ec` or `other`."""
    key = _signed(certificate)[5][2]
    return "rsa" if RSA in key else "ec" if EC in key else "other"


def parts(certificate: bytes) -> tuple[bytes, bytes, bytes]:
    """What is signed, the algorithm, the signature: each whole."""
    _, whole, _ = next(elements(certificate))
    signed, algorithm, signature = (element[2] for element in elements(whole))
    return signed, algorithm, signature


def certificate(signed: bytes, algorithm: bytes, signature: bytes) -> bytes:
    """The three put together; `signature` as the program gives it."""
    return _element(0x30, signed + algorithm + _element(0x03, b"\0" + signature))


def _element(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def role_strings(certificate: bytes, identifier: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of the string in each extension with this identifier (its whole DER)."""
    found, at = [], certificate.find(identifier)
    while at >= 0:
        rest = list(elements_until(certificate[at + len(identifier) :]))
        octets = next(content for tag, content, _ in rest if tag == 0x04)
        tag, content, _ = next(elements(octets))
        found.append((tag, content))
        at = certificate.find(identifier, at + 1)
    return found


def elements_until(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The elements at the beginning of bytes that go on with something else."""
    try:
        yield from elements(content)
    except (ValueError, IndexError):
        return
