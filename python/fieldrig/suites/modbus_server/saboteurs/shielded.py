"""Where servers with TLS run for the kill matrix: our device (`tls`, `tls rsa`), or OpenSSL before it (`front`, ..)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from ..capabilities import Capabilities
from ..carriers import CARRIERS
from ..probe import probe
from ..server import Server, Timing
from .base import Saboteur
from .front import ROLES, Terminator, before, works
from .security import Shielded

PATIENT = Timing(answer=1.5, silence=0.15, settle=0.03)
"""A handshake costs milliseconds of computing, and many run at a time."""


@contextlib.contextmanager
def shielded(saboteur: Saboteur, on: str) -> Iterator[Server]:
    """A server with TLS as the suite sees it, probed."""
    from fieldrig import Rig, modbus

    from . import device as plain

    mine = saboteur if isinstance(saboteur, Shielded) else Shielded()
    ours = works()
    identity = ours.device("rsa" if on.endswith("rsa") else "ec")
    with contextlib.ExitStack() as stack:
        rig = stack.enter_context(Rig(trace="counts", name="saboteur"))
        if on.startswith("tls"):
            url = f"tls://127.0.0.1:0?ca={ours.ca.cert}&cert={identity.cert}&key={identity.key}".replace(" ", "%20")
            device = stack.enter_context(modbus.Device(url, unit=None, rig=rig, roles=ROLES, **plain._tables()))
            address = _address(device.url)
        else:
            device = stack.enter_context(modbus.Device(unit=None, rig=rig, **plain._tables()))
            front = Terminator(mine.front, identity, ours, _address(device.url))
            address = stack.enter_context(front).address
        for name, value in (*plain.HABITS, *saboteur.habits):
            device.habit(name, value)
        address = stack.enter_context(before(address, mine.of_client, mine.of_server))
        yield serving(address, fragments=on.startswith("front"), capabilities=plain.CAPABILITIES)


def serving(address: tuple[str, int], *, fragments: bool, capabilities: Capabilities | None = None) -> Server:
    """A server of our works as the suite sees it, probed; `fragments`: it negotiates max_fragment_length."""
    ours = works()
    target = ours.target(address)
    security = replace(ours.security(), max_fragment_length=True if fragments else None)
    server = Server(
        target.opener(ours.engineer()),
        1,
        replace(capabilities or Capabilities(), security=security),
        PATIENT,
        carrier=CARRIERS["tls"],
        target=target,
    )
    probe(server, f"tls://{address[0]}:{address[1]}")
    return server


def _address(url: str) -> tuple[str, int]:
    host, port = url.partition("://")[2].rsplit(":", 1)
    return host, int(port)
