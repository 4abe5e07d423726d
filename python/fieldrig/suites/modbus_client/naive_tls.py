"""How the naive client gets inside TLS: a context that does everything right, or exactly one thing wrong.

It is the TLS of the standard library, like that of the server that judges it; what OpenSSL would never do is done to
the bytes of a hello, on a connection of its own that is then given up.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import warnings
from urllib.parse import SplitResult

SUITES = {
    "weak suites": "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0",
    "another suite": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "null suites first": "NULL-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:@SECLEVEL=0",
    "block ciphers": "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0",
}
"""What is offered for TLS 1.2, by fault."""
IGNORE_DATES = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL."""


class Security:
    """The TLS of one naive client.

    Args:
        faults: the switches that are on.
        ca, cert, key: the files that the driver was given.
    """

    def __init__(self, faults: frozenset[str], ca: str, cert: str, key: str) -> None:
        self._faults = faults
        self._context = self._made(ca, cert, key)
        self._session: ssl.SSLSession | None = None

    def _made(self, ca: str, cert: str, key: str) -> ssl.SSLContext:
        faults, context = self._faults, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_3 if "1.3 only" in faults else ssl.TLSVersion.TLSv1_2
        if "block ciphers" in faults:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        if "old versions" in faults:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = ssl.TLSVersion.TLSv1
            context.set_ciphers("ALL:@SECLEVEL=0")
        for fault in SUITES.keys() & faults:
            context.set_ciphers(SUITES[fault])
        if "any certificate" in faults:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if "any name" in faults:
            context.check_hostname = False
        if "any dates" in faults:
            context.verify_flags |= IGNORE_DATES
        if "no certificate" not in faults:
            context.load_cert_chain(_leaf(cert) if "leaf only" in faults else cert, key)
        return context

    def connect(self, place: SplitResult) -> ssl.SSLSocket:
        """A connection whose handshake is done. Raises `OSError`."""
        address = (str(place.hostname), int(place.port or 802))
        if {"compression", "no renegotiation"} & self._faults:
            self._say_another_hello(address)
        plain = socket.create_connection(address, 2.0)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            secured = self._context.wrap_socket(plain, server_hostname=address[0], session=self._session)
        except OSError:
            plain.close()
            raise
        if "hangs up on 1.2" in self._faults and secured.version() == "TLSv1.2":
            secured.close()
            raise ConnectionError("TLS 1.2")
        self._session = secured.session
        return secured

    def failed(self) -> None:
        """The connection ended with a fatal alert."""
        if "session stays" not in self._faults:
            self._session = None

    def _say_another_hello(self, address: tuple[str, int]) -> None:
        """A hello that OpenSSL does not make; what comes of it is not looked at."""
        nothing, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._context.wrap_bio(nothing, outgoing, server_hostname=address[0])
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = outgoing.read()
        if "compression" in self._faults:
            hello = _with_compression(hello)
        if "no renegotiation" in self._faults:
            hello = hello.replace(b"\x00\xff", b"\xc0\x23", 1)
        with socket.create_connection(address, 2.0) as connection:
            connection.sendall(hello)
            with contextlib.suppress(OSError):
                connection.recv(4096)


def _leaf(cert: str) -> str:
    """A file with the first of the certificates of another."""
    end = "-----END CERTIFICATE-----\n"
    path = f"{cert}.leaf"
    with open(cert, encoding="ascii") as whole, open(path, "w", encoding="ascii") as alone:
        alone.write(whole.read().partition(end)[0] + end)
    return path


def _with_compression(record: bytes) -> bytes:
    """The same hello with DEFLATE (1) before the null method (RFC 3749)."""
    at = 5 + 4 + 34
    at += 1 + record[at]
    at += 2 + int.from_bytes(record[at : at + 2], "big")
    body = record[9:at] + b"\x02\x01\x00" + record[at + 2 :]
    message = record[5:6] + len(body).to_bytes(3, "big") + body
    return record[:3] + len(message).to_bytes(2, "big") + message
