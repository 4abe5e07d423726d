"""Servers that break a requirement of Modbus/TCP Security."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from .base import Saboteur
from .front import Change, Conversation, Front


@dataclass(frozen=True)
class Shielded(Saboteur):
    """A server with TLS: a front with a wrong setting, or records that are changed on the way."""

    front: Front = field(default_factory=Front)
    of_client: Change | None = None
    of_server: Change | None = None


def wrong(*falls: str, on: str = "front", **settings: object) -> Shielded:
    """A front with wrong settings."""
    return Shielded(falls=falls, on=on, front=Front(**settings))  # type: ignore[arg-type]


def another_suite(record: bytes, said: Conversation) -> bytes:
    """A ServerHello with a suite that nobody registered."""
    if not said.raw or record[0] != 22 or record[5] != 2:
        return record
    at = 5 + 4 + 34 + 1 + record[5 + 4 + 34]
    return record[:at] + b"\x5a\x5a" + record[at + 2 :]


def without(extension: bytes) -> Change:
    """A ServerHello in which an extension has another number."""

    def change(record: bytes, said: Conversation) -> bytes:
        hello = said.raw and record[0] == 22 and record[5] == 2
        return record.replace(extension, b"\xfa\xfa" + extension[2:], 1) if hello else record

    return change


def no_second_request(record: bytes, said: Conversation) -> bytes | None:
    """The server never sees the second record with data: for it, the connection ended in order."""
    return None if record[0] == 23 and said.old and said.requests > 1 else record


OLD = "ALL:@SECLEVEL=0"
NULL_FIRST = "ECDHE-ECDSA-NULL-SHA:ECDHE-ECDSA-AES128-GCM-SHA256:@SECLEVEL=0"

SABOTEURS: dict[str, Saboteur] = {
    "SEC-01": wrong("SEC-11", oldest=ssl.TLSVersion.MINIMUM_SUPPORTED, suites=OLD),
    "SEC-02": wrong("SEC-08", "SEC-10", "SEC-20", "SEC-25", hangs_up_on="TLSv1.2"),
    "SEC-03": wrong(
        *("SEC-04", "SEC-05", "SEC-19", "SEC-21", "SEC-22", "SEC-23", "SEC-24", "SEC-25"),
        verify=ssl.CERT_NONE,
        everybody="Engineer",
    ),
    "SEC-04": wrong(verify=ssl.CERT_OPTIONAL),
    "SEC-05": wrong(strangers=True),
    "SEC-08": Shielded(falls=("SEC-20", "SEC-25"), on="tls", of_client=no_second_request),
    "SEC-09": wrong(on="front rsa", suites="ECDHE-RSA-AES256-GCM-SHA384"),
    "SEC-10": wrong(suites="ECDHE-ECDSA-AES256-GCM-SHA384"),
    "SEC-11": wrong(suites="ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"),
    "SEC-12": Shielded(on="tls", of_server=another_suite, falls=("SEC-10", "SEC-28")),
    "SEC-13": wrong("SEC-11", suites=NULL_FIRST, own_order=True),
    "SEC-14": wrong(leaf_only=True),
    "SEC-16": Shielded(on="tls", of_server=without(b"\xff\x01\x00\x01\x00")),
    "SEC-17": Shielded(on="front", of_server=without(b"\x00\x01\x00\x01\x01")),
    "SEC-18": Shielded(on="front", habits=(("protocol_id", 1),)),
    "SEC-19": wrong("SEC-23", "SEC-24", default="Operator"),
    "SEC-20": wrong(needs_role=True),
    "SEC-21": wrong("SEC-25", code=2),
    "SEC-22": wrong("SEC-25", judges="first"),
    "SEC-23": wrong(types=(0x0C, 0x13, 0x16)),
    "SEC-24": wrong(separator=","),
    "SEC-25": wrong(forgets=True),
    "SEC-27": wrong(plain=True),
    "SEC-28": wrong("SEC-10", suites="ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"),
}
