"""Servers with TLS for the rows about it: our device, and OpenSSL (the standard library) in front of our plain device.

The front does what Modbus/TCP Security asks for, and each of its settings can be wrong: a saboteur is a front with one
that is. `Records` changes single records on the way, for what no library does wrong.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from ...common.ready import readable
from ..capabilities import Security
from ..secure.der import role_strings
from ..secure.link import Target
from ..secure.pki import ROLE_OID, Authority, Identity, Pki, role

UTF8_STRING = 0x0C
FULL, OPERATOR = "Engineer", "Operator"
ALLOWED, FORBIDDEN = (3, 1), (3, 2000)
ROLES = {FULL: "all", OPERATOR: {"functions": [3], "holding": [[0, 999]]}}
"""The rules of our device, and of the front."""
LOOK = 0.005


class Works:
    """A works with a CA, an intermediate one, and certificates for servers and clients."""

    def __init__(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="fieldrig-pki-")
        atexit.register(folder.cleanup)
        self.pki = Pki(Path(folder.name))
        self.ca = self.pki.authority("works")

    def device(self, key: str) -> Identity:
        """A server, certified through an intermediate CA."""
        between = self.pki.identity("line 3", self.ca, ca=True)
        return self.pki.identity(f"device {key}", self.ca, key=key, through=between)

    def engineer(self) -> Identity:
        """A client that may do everything."""
        return self.pki.identity("client", self.ca, extensions=(role(FULL),))

    def security(self) -> Security:
        """What is declared about servers of this works."""
        return Security(self.ca.cert, self.ca.key, self.ca.cert, FULL, OPERATOR, ALLOWED, FORBIDDEN)

    def target(self, address: tuple[str, int]) -> Target:
        return Target(address, self.pki, self.ca)


@functools.cache
def _works() -> Works:
    return Works()


_ONE_AT_A_TIME = threading.Lock()


def works() -> Works:
    """One for all, since keys take time."""
    with _ONE_AT_A_TIME:
        return _works()


@dataclass(frozen=True)
class Front:
    """How a front is set."""

    verify: ssl.VerifyMode = ssl.CERT_REQUIRED
    oldest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    suites: str | None = None
    own_order: bool = False
    """The server's preference among suites counts."""
    leaf_only: bool = False
    strangers: bool = False
    """The CA of strangers is trusted, too."""
    hangs_up_on: str | None = None
    """A version of TLS whose clients are not served."""
    types: tuple[int, ...] = (UTF8_STRING,)
    """Types of strings that are taken for a role."""
    separator: str | None = None
    """What separates roles in one string."""
    default: str = ""
    """The role of who has none."""
    everybody: str | None = None
    """The role of everybody."""
    needs_role: bool = False
    forgets: bool = False
    """A resumed session has no role."""
    judges: Literal["every", "first"] = "every"
    """Which requests of a connection are judged."""
    code: int = 1
    """The exception of what is not allowed."""
    plain: bool = False
    """Plain requests are served, too."""

    def roles_of(self, connection: ssl.SSLSocket) -> list[str]:
        """The roles of a client."""
        if self.everybody is not None:
            return [self.everybody]
        certificate = connection.getpeercert(binary_form=True)
        found = role_strings(certificate, ROLE_OID) if certificate else []
        fit = [text.decode("utf-8", "replace") for tag, text in found if tag in self.types]
        if len(found) != 1 or not fit or (self.forgets and connection.session_reused):
            return [self.default]
        return fit[0].split(self.separator) if self.separator else fit

    def allows(self, roles: list[str], pdu: bytes, nth: int) -> bool:
        """Whether the rules allow a request; `nth` is how many came before it."""
        if self.judges == "first" and nth:
            return True
        first = int.from_bytes(pdu[1:3], "big")
        last = first + max(int.from_bytes(pdu[3:5], "big"), 1) - 1
        return FULL in roles or (OPERATOR in roles and pdu[:1] == b"\x03" and last <= 999)

    def context(self, identity: Identity, clients: Authority, pki: Pki) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self.oldest
        if self.suites is not None:
            context.set_ciphers(self.suites)
        if self.own_order:
            context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        cert = identity.cert
        if self.leaf_only:
            cert = identity.cert.with_suffix(".leaf")
            end = "-----END CERTIFICATE-----\n"
            cert.write_text(identity.cert.read_text("ascii").split(end)[0] + end, "ascii")
        context.load_cert_chain(cert, identity.key)
        context.load_verify_locations(clients.cert)
        if self.strangers:
            context.load_verify_locations(pki.authority("strange CA").cert)
        context.verify_mode = self.verify
        return context


class _Listener:
    """Accepts connections on the loopback interface, a thread for each, until it is left."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(LOOK * 4)
        self.address: tuple[str, int] = ("127.0.0.1", self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="TLS front")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = self._listener.accept()
                self._start(self._guarded, client)

    def _guarded(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.settimeout(5)
            self.serve(client)

    def serve(self, client: socket.socket) -> None:
        raise NotImplementedError


class Terminator(_Listener):
    """A front before a server of plain Modbus/TCP."""

    def __init__(self, front: Front, identity: Identity, works: Works, server: tuple[str, int]) -> None:
        super().__init__()
        self._front = front
        self._context = front.context(identity, works.ca, works.pki)
        self._server = server

    def serve(self, client: socket.socket) -> None:
        if self._front.plain and client.recv(1, socket.MSG_PEEK) != b"\x16":
            return self._requests(client, [FULL])
        with self._context.wrap_socket(client, server_side=True) as connection:
            roles = self._front.roles_of(connection)
            turned_away = self._front.needs_role and roles == [""]
            if not turned_away and connection.version() != self._front.hangs_up_on:
                self._requests(connection, roles)
        return None

    def _requests(self, client: socket.socket, roles: list[str]) -> None:
        with socket.create_connection(self._server, timeout=1) as server:
            held, nth = b"", 0
            while not self._over.is_set():
                more = self._received(client)
                if more is None:
                    continue
                if not more:
                    return
                held += more
                while len(held) > 7 and len(held) >= 6 + int.from_bytes(held[4:6], "big"):
                    end = 6 + int.from_bytes(held[4:6], "big")
                    adu, held = held[:end], held[end:]
                    client.sendall(self._answer(server, adu, roles, nth))
                    nth += 1

    def _received(self, client: socket.socket) -> bytes | None:
        pending = isinstance(client, ssl.SSLSocket) and client.pending()
        if not pending and not readable([client], LOOK * 4):
            return None
        return client.recv(65536)

    def _answer(self, server: socket.socket, adu: bytes, roles: list[str], nth: int) -> bytes:
        if not self._front.allows(roles, adu[7:], nth):
            return adu[:4] + b"\x00\x03" + adu[6:7] + bytes([adu[7] | 0x80, self._front.code])
        server.sendall(adu)
        with contextlib.suppress(TimeoutError):
            return server.recv(65536)
        return b""


Change = Callable[[bytes, "Conversation"], bytes | None]
"""Changes a record of the one side; `None` ends the connection in order."""


@dataclass
class Conversation:
    """What a change may know about the connection."""

    raw: bool = False
    """The hello was put together by hand: no library leaves out extended_master_secret."""
    old: bool = False
    """The client offers nothing newer than TLS 1.2."""
    requests: int = 0
    """Records with data that the client has sent."""


class Records(_Listener):
    """Stands before a server with TLS and changes records on the way."""

    def __init__(
        self, server: tuple[str, int], of_client: Change | None = None, of_server: Change | None = None
    ) -> None:
        super().__init__()
        self._server = server
        self._changes = (of_client, of_server)

    def serve(self, client: socket.socket) -> None:
        said = Conversation()
        with socket.create_connection(self._server, timeout=5) as server:
            ends = ((client, server), (server, client))
            held = {client: b"", server: b""}
            while not self._over.is_set():
                ready = readable([client, server], LOOK * 4)
                for (source, sink), change in zip(ends, self._changes, strict=True):
                    if source not in ready:
                        continue
                    more = source.recv(65536)
                    held[source], out = self._changed(held[source] + more, change, said, source is client)
                    if out is None:
                        return
                    sink.sendall(out)
                    if not more:
                        return

    def _changed(
        self, data: bytes, change: Change | None, said: Conversation, of_client: bool
    ) -> tuple[bytes, bytes | None]:
        out = b""
        while len(data) >= 5 and len(data) >= 5 + int.from_bytes(data[3:5], "big"):
            end = 5 + int.from_bytes(data[3:5], "big")
            record, data = data[:end], data[end:]
            if of_client and record[0] == 22 and record[5] == 1:
                said.raw = b"\x00\x17\x00\x00" not in record
                said.old = b"\x00\x2b\x00\x05\x04\x03\x04\x03\x03" not in record
            said.requests += of_client and record[0] == 23
            changed = record if change is None else change(record, said)
            if changed is None:
                return data, None
            out += changed
        return data, out


@contextlib.contextmanager
def before(
    address: tuple[str, int], of_client: Change | None = None, of_server: Change | None = None
) -> Iterator[tuple[str, int]]:
    """A server behind changes to its records, if there are any."""
    if of_client is None and of_server is None:
        yield address
        return
    with Records(address, of_client, of_server) as records:
        yield records.address
