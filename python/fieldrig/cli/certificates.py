"""Until when the certificates of a bench are valid: those of its files, and those of the servers it names.

Rules of this file:

- A file that the bench trusts (`ca`) is read, and nothing else is done with it. Python says the validity only of
  certificates that may sign others; what else is in the file is counted and named as a warning.
- A broker with `mqtts://` gets a TLS handshake and nothing above it. What the handshake verifies is verified against
  the clock of this computer; `now` decides only what is about to expire.
- Expired is a problem, about to expire a warning: it changes no exit code.
"""

from __future__ import annotations

import datetime
import math
import socket
import ssl
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from .finding import Finding

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86_400
"""Seconds of a day."""
ANSWER = 5.0
"""So many seconds a server may take to connect, and as many for the handshake."""


class Trusting(Protocol):
    """What is to be known of a link of the bench."""

    @property
    def name(self) -> str:
        """Of which link the certificates are."""

    @property
    def outside(self) -> str | None:
        """The URL of its broker."""

    @property
    def ca(self) -> Path | None:
        """The file that is trusted."""

    @property
    def ca_place(self) -> str | None:
        """Where the bench file names it."""


def findings(links: Iterable[Trusting], now: float, within: float) -> Iterator[Finding]:
    """What is to be said of every certificate.

    Args:
        links: those of the bench.
        now: seconds since 1970.
        within: so many seconds before its end a certificate is about to expire.
    """
    for link in links:
        trusted = _context(link)
        yield from _of_file(link, trusted, now, within)
        if link.outside is not None and urlsplit(link.outside).scheme.endswith("s"):
            yield _of_server(link, trusted, now, within)


def _context(link: Trusting) -> ssl.SSLContext | str:
    """What verifies the server of a link, or why nothing can."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if link.ca is None:
        context.load_default_certs()
        return context
    try:
        # As text: only that may have remarks in any language, and the error of OpenSSL for other files says little.
        text = link.ca.read_bytes().decode("ascii", errors="ignore")
        if "-----BEGIN" not in text:
            return f"{link.ca_place}: `{link.ca}` is no PEM file"
        context.load_verify_locations(cadata=text)
    except OSError as error:  # ssl.SSLError is one
        reason = _reason(error) if isinstance(error, ssl.SSLError) else error.strerror
        return f"{link.ca_place}: `{link.ca}` cannot be read: {reason}"
    return context


def _of_file(link: Trusting, trusted: ssl.SSLContext | str, now: float, within: float) -> Iterator[Finding]:
    if link.ca is None:
        return
    name = f"{link.name}.ca"
    if isinstance(trusted, str):
        hint = "put a PEM file of the certificates to trust there; it is looked for beside the bench file"
        yield Finding("certificate", name, "problem", trusted, hint)
        return
    for certificate in trusted.get_ca_certs():
        yield _judged(name, f"{link.ca.name}: {_subject(certificate)}", certificate, now, within)
    held = trusted.cert_store_stats()
    if others := held["x509"] - held["x509_ca"]:
        says = f"{link.ca.name}: {others} of {held['x509']} certificates cannot sign others; until when is not known"
        hint = f"{link.ca_place}: name the certificate of the authority, or look with `openssl x509 -enddate`"
        yield Finding("certificate", name, "warning", says, hint)


def _of_server(link: Trusting, trusted: ssl.SSLContext | str, now: float, within: float) -> Finding:
    name, url = f"{link.name}.broker", urlsplit(link.outside or "")
    host, port = url.hostname or "", url.port or 0
    where = f"{host}:{port}"
    if isinstance(trusted, str):
        return Finding("certificate", name, "not run", f"{where}: there is nothing to verify it against")
    try:
        with (
            socket.create_connection((host, port), timeout=ANSWER) as connection,
            trusted.wrap_socket(connection, server_hostname=host) as tls,
        ):
            certificate = tls.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        says = f"{where}: its certificate is not accepted: {error.verify_message.rstrip('.')}"
        return Finding("certificate", name, "problem", says, _remedy(link))
    except ssl.SSLError as error:
        return Finding("certificate", name, "problem", f"{where}: no TLS connection: {_reason(error)}", "is it TLS?")
    except (OSError, ValueError) as error:  # a host that cannot be one is a ValueError
        hint = "is the broker up, and its address right?"
        return Finding("certificate", name, "problem", f"{where}: {_failure(error)}", hint)
    return _judged(name, f"{where}: {_subject(certificate)}", certificate, now, within)


def _judged(name: str, what: str, certificate: dict[str, Any], now: float, within: float) -> Finding:
    """A certificate at an instant; it says its times itself."""
    begins = ssl.cert_time_to_seconds(certificate["notBefore"])
    ends = ssl.cert_time_to_seconds(certificate["notAfter"])
    left = ends - now
    if left <= 0:
        says, hint = f"{what}: expired on {_day(ends)}", "renew it"
        return Finding("certificate", name, "problem", says, hint)
    if begins > now:
        says, hint = f"{what}: not valid before {_day(begins)}", "is the clock of this computer right?"
        return Finding("certificate", name, "problem", says, hint)
    days = math.floor(left / DAY)
    says = f"{what}: valid until {_day(ends)} ({days} day{'' if days == 1 else 's'})"
    if left < within:
        return Finding("certificate", name, "warning", says, "renew it before it expires")
    return Finding("certificate", name, "ok", says)


def _remedy(link: Trusting) -> str:
    if link.ca is None:
        return 'is it signed by an authority of your own? then name its certificate: ca = "FILE" beside `broker`'
    return f"{link.ca_place}: is that the authority which signed it, and HOST the name it was made for?"


def _subject(certificate: dict[str, Any]) -> str:
    """The common name, or all of the subject."""
    parts = [pair for group in certificate.get("subject", ()) for pair in group]
    common = [value for key, value in parts if key == "commonName"]
    return common[-1] if common else ", ".join(value for _, value in parts) or "no name"


def _reason(error: ssl.SSLError) -> str:
    """The reason in the words of OpenSSL: `WRONG_VERSION_NUMBER`."""
    return (error.reason or error.strerror or str(error)).replace("_", " ").lower()


def _failure(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER:.0f} s"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _day(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d")
