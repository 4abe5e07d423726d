"""A server with TLS as users write it: `tls://HOST:802?cert=client.pem&key=client.key`.

The certificate in the URL is for the ordinary rows. Rows about TLS make their own, with the CA of the capabilities file
(`[security]`); if the URL has none, one of these is for the ordinary rows, too.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from fieldrig.errors import UsageError

from ..capabilities import Capabilities
from .link import Target
from .pki import Authority, Identity, Pki, role

PORT = 802
"""That of Modbus/TCP Security (SEC 4)."""
EXAMPLE = "tls://192.0.2.7:802?cert=client.pem&key=client.key"


def address(url: str) -> tuple[str, int]:
    """Host and port of a URL. Raises `UsageError`."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if not parts.hostname or port == 0 or parts.path not in ("", "/"):
        raise UsageError(f"{url!r} is no address of a server", hint=EXAMPLE)
    return parts.hostname, PORT if port is None else port


def identity_of(url: str) -> Identity | None:
    """The certificate that a URL names. Raises `UsageError`."""
    fields = parse_qs(urlsplit(url).query)
    unknown = fields.keys() - {"cert", "key"}
    if unknown:
        raise UsageError(f"{url!r}: unknown key `{min(unknown)}`", hint=f"there are cert and key: {EXAMPLE}")
    if not fields:
        return None
    if fields.keys() != {"cert", "key"}:
        raise UsageError(f"{url!r}: `cert` and `key` go together", hint=EXAMPLE)
    files = Identity(Path(fields["cert"][0]), Path(fields["key"][0]))
    for path in (files.cert, files.key):
        if not path.is_file():
            raise UsageError(f"{url!r}: there is no file {path}")
    return files


def secured(url: str, capabilities: Capabilities, folder: Path) -> tuple[Target, Identity | None, bool]:
    """The server, the certificate for ordinary rows, and whether others can be made; they are made in `folder`.

    Raises `UsageError`.
    """
    given, declared, pki = identity_of(url), capabilities.security, Pki(folder)
    if declared is None:
        nobody = given or Identity(folder, folder)
        return Target(address(url), pki, Authority(nobody.cert, nobody.key)), given, False
    target = Target(address(url), pki, Authority(declared.ca, declared.ca_key))
    full = (role(declared.full_role),) if declared.full_role else ()
    return target, given or target.client("client", *full), True
