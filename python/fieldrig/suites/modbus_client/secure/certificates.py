"""Certificates of one run (RFC 5280), their keys and who signs them: PEM files in a folder.

- `Pki` is the folder: the CA that the client is to trust, the certificate it is to show, and those of our server.
- The certificate of the client is signed by a CA between it and the one that our server knows, so that it takes the
  whole chain to prove it (SEC R-46). The file holds both, the client's first.
- A folder that has a CA and a client already keeps them: a device that was given them once can be judged again.
- What is made here passes the strict checks of OpenSSL: key identifiers, key usage, names and dates are as they
  should be, unless a row wants one of them wrong.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fieldrig.errors import UsageError

from . import curve

ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
EC_P256 = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
COMMON_NAME = bytes.fromhex("0603550403")
SERVER_AND_CLIENT = bytes.fromhex("301406082b0601050507030106082b06010505070302")
"""Extended key usage (RFC 5280 4.2.1.12): both."""

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)
VALID = (NOW - DAY, NOW + 800 * DAY)
PAST = (NOW - 1500 * DAY, NOW - 700 * DAY)
FUTURE = (NOW + 700 * DAY, NOW + 1500 * DAY)
LONG = (NOW - DAY, NOW + 3650 * DAY)

Dates = tuple[datetime.datetime, datetime.datetime]


@dataclass(frozen=True)
class Identity:
    """A certificate, with what stands between it and its CA, and its key: PEM files."""

    cert: Path
    key: Path


@dataclass(frozen=True)
class Signer:
    """Who signs certificates."""

    name: str
    key: int


class Pki:
    """The certificates of a run.

    Args:
        folder: where they are written, and kept.
        names: hosts and addresses that our server is found at.

    Raises:
        UsageError: the folder holds a part of them only, or something else.
    """

    def __init__(self, folder: Path, names: Sequence[str] = ()) -> None:
        self._folder = folder
        self._names = tuple(dict.fromkeys(("127.0.0.1", "localhost", *names)))
        self.ca = folder / "ca.pem"
        """What the client is to trust."""
        self.client = Identity(folder / "client.pem", folder / "client.key")
        """What the client is to show."""
        self.between = folder / "between.pem"
        """The CA that signed the certificate of the client."""
        self._signer = self._kept() or self._made()
        self._identities: dict[str, Identity] = {}

    def server(self, kind: str) -> Identity:
        """What our server shows: `good`, or what is wrong with it.

        Args:
            kind: good, stranger (signed by a CA of the same name that nobody knows), self-signed, expired, future, or
                elsewhere (for another host).
        """
        if kind not in self._identities:
            signer = self._signer
            if kind == "stranger":
                signer = Signer(signer.name, curve.secret())
            dates = {"expired": PAST, "future": FUTURE}.get(kind, VALID)
            names = ("other.example",) if kind == "elsewhere" else self._names
            self._identities[kind] = self._leaf(f"server-{kind}", signer, dates, names, alone=kind == "self-signed")
        return self._identities[kind]

    def _kept(self) -> Signer | None:
        """Who signed what stands in the folder."""
        wanted = (self.ca, self._folder / "ca.key", self.between, self.client.cert, self.client.key)
        there = [path for path in wanted if path.is_file()]
        if not there:
            return None
        if len(there) < len(wanted):
            missing = next(path for path in wanted if path not in there)
            raise UsageError(
                f"{self._folder} has {there[0].name} and no {missing.name}",
                hint="give an empty folder, or one that an earlier run has filled",
            )
        return Signer("fieldrig test CA", secret_of((self._folder / "ca.key").read_text("ascii")))

    def _made(self) -> Signer:
        self._folder.mkdir(parents=True, exist_ok=True)
        root, between = Signer("fieldrig test CA", curve.secret()), Signer("fieldrig test clients", curve.secret())
        _write(self._folder / "ca.key", key_pem(root.key))
        self.ca.write_text(pem(certificate(root.name, root.key, root, LONG, ca=True)), "ascii")
        self.between.write_text(pem(certificate(between.name, between.key, root, LONG, ca=True)), "ascii")
        made = self._leaf("client", between, LONG, ())
        made.cert.write_text(made.cert.read_text("ascii") + self.between.read_text("ascii"), "ascii")
        return root

    def _leaf(self, name: str, signer: Signer, dates: Dates, names: Sequence[str], *, alone: bool = False) -> Identity:
        key = curve.secret()
        made = Identity(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        by = Signer(f"fieldrig {name}", key) if alone else signer
        made.cert.write_text(pem(certificate(f"fieldrig {name}", key, by, dates, names)), "ascii")
        _write(made.key, key_pem(key))
        return made


def certificate(name: str, key: int, by: Signer, dates: Dates, names: Sequence[str] = (), *, ca: bool = False) -> bytes:
    """A certificate of version 3 (RFC 5280 4.1), DER."""
    extensions = [
        (b"\x55\x1d\x13", True, _element(0x30, b"\x01\x01\xff" if ca else b"")),
        (b"\x55\x1d\x0f", True, b"\x03\x02\x01\x06" if ca else b"\x03\x02\x07\x80"),
        (b"\x55\x1d\x0e", False, _element(0x04, _identifier(key))),
        (b"\x55\x1d\x23", False, _element(0x30, _element(0x80, _identifier(by.key)))),
    ]
    if not ca:
        extensions.append((b"\x55\x1d\x25", False, SERVER_AND_CLIENT))
    if names:
        extensions.append((b"\x55\x1d\x11", False, _element(0x30, b"".join(map(_name, names)))))
    listed = b"".join(_extension(*each) for each in extensions)
    signed = _element(
        0x30,
        bytes.fromhex("a003020102")
        + _integer(secrets.randbits(120) | 1 << 120)
        + ECDSA_SHA256
        + _common_name(by.name)
        + _element(0x30, b"".join(map(_instant, dates)))
        + _common_name(name)
        + _element(0x30, EC_P256 + _element(0x03, b"\x00" + curve.public(key)))
        + _element(0xA3, _element(0x30, listed)),
    )
    signature = _element(0x30, b"".join(map(_integer, curve.sign(by.key, signed))))
    return _element(0x30, signed + ECDSA_SHA256 + _element(0x03, b"\x00" + signature))


def pem(der: bytes) -> str:
    return ssl.DER_cert_to_PEM_cert(der)


def key_pem(key: int) -> str:
    """A private key as PKCS #8 (RFC 5915, RFC 5208)."""
    import base64

    point = _element(0xA1, _element(0x03, b"\x00" + curve.public(key)))
    inner = _element(0x30, b"\x02\x01\x01" + _element(0x04, key.to_bytes(32, "big")) + point)
    der = _element(0x30, b"\x02\x01\x00" + EC_P256 + _element(0x04, inner))
    lines = base64.encodebytes(der).decode("ascii").replace("\n", "")
    body = "\n".join(lines[at : at + 64] for at in range(0, len(lines), 64))
    return f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"


def secret_of(text: str) -> int:
    """The private key in what `key_pem` wrote. Raises `UsageError`."""
    import base64

    body = "".join(line for line in text.splitlines() if not line.startswith("-----"))
    der = base64.b64decode(body)
    at = der.find(b"\x04\x20", len(EC_P256))
    if at < 0 or EC_P256 not in der:
        raise UsageError("ca.key is no private key on P-256 as PKCS #8", hint="give an empty folder")
    return int.from_bytes(der[at + 2 : at + 34], "big")


def _write(path: Path, text: str) -> None:
    path.touch(0o600)
    path.write_text(text, "ascii")


def _identifier(key: int) -> bytes:
    return hashlib.sha256(curve.public(key)).digest()[:20]


def _extension(identifier: bytes, critical: bool, content: bytes) -> bytes:
    flag = b"\x01\x01\xff" if critical else b""
    return _element(0x30, _element(0x06, identifier) + flag + _element(0x04, content))


def _name(text: str) -> bytes:
    """A name of a host or an address (RFC 5280 4.2.1.6)."""
    try:
        return _element(0x87, ipaddress.ip_address(text).packed)
    except ValueError:
        return _element(0x82, text.encode("idna"))


def _common_name(text: str) -> bytes:
    return _element(0x30, _element(0x31, _element(0x30, COMMON_NAME + _element(0x0C, text.encode("utf-8")))))


def _instant(at: datetime.datetime) -> bytes:
    """UTCTime until 2049, GeneralizedTime from then on (RFC 5280 4.1.2.5)."""
    if at.year < 2050:
        return _element(0x17, at.strftime("%y%m%d%H%M%SZ").encode("ascii"))
    return _element(0x18, at.strftime("%Y%m%d%H%M%SZ").encode("ascii"))


def _integer(value: int) -> bytes:
    return _element(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _element(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content
