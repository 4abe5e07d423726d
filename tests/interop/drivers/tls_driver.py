"""Drives foreign TLS with a few lines of Modbus in it; the argument says whose: `python` (its ssl) or `openssl`.

Both do what their documentation calls right: verify the server by the CA, show a certificate with its chain.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from serving import Driver, Failure, address, serve

END = "-----END CERTIFICATE-----\n"


class PythonLink:
    """A connection by `ssl.create_default_context`."""

    def __init__(self, place: tuple[str, int], ca: str, cert: str, key: str, timeout: float) -> None:
        context = ssl.create_default_context(cafile=ca)
        context.load_cert_chain(cert, key)
        plain = socket.create_connection(place, timeout)
        try:
            self._socket = context.wrap_socket(plain, server_hostname=place[0])
        except OSError as error:
            plain.close()
            raise Failure("refused", error) from None

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self, within: float) -> bytes:
        """What comes, nothing at the end of the connection. Raises `TimeoutError` or `Failure`."""
        self._socket.settimeout(max(within, 0.001))
        return self._socket.recv(4096)

    def close(self) -> None:
        self._socket.close()


class ProgramLink:
    """A connection by `openssl s_client`."""

    def __init__(self, place: tuple[str, int], ca: str, cert: str, key: str, timeout: float) -> None:
        program = shutil.which("openssl")
        if program is None:
            raise Failure("other", "openssl is not installed")
        words = [program, "s_client", "-quiet", "-connect", f"{place[0]}:{place[1]}"]
        words += ["-CAfile", ca, "-verify_return_error", "-verify_ip", place[0]]
        self._chain = tempfile.NamedTemporaryFile("w", suffix=".pem")  # noqa: SIM115, closed with the rest
        self._chain.write(Path(cert).read_text("ascii").partition(END)[2])
        self._chain.flush()
        words += ["-cert", cert, "-cert_chain", self._chain.name, "-key", key]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )

    def send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)

    def receive(self, within: float) -> bytes:
        """What comes, nothing at the end of the connection. Raises `TimeoutError` or `Failure`."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], max(within, 0.0))[0]:
            raise Failure("timeout", "nothing came")
        return os.read(self._process.stdout.fileno(), 4096)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._chain.close()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


class Tls(Driver):
    """Reads holding registers."""

    def __init__(self, link: type[PythonLink] | type[ProgramLink], name: str) -> None:
        self.name = name
        self._make = link
        self._link: PythonLink | ProgramLink | None = None
        self._transaction = 0

    def open(
        self, url: str, unit: int, timeout: float, ca: str = "", cert: str = "", key: str = "", **_: Any
    ) -> dict[str, Any]:
        self._timeout = timeout
        self._arguments = (address(url), ca, cert, key, 5.0)
        return {"retries": 0}

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def failure(self, error: Exception) -> Failure:
        return Failure("timeout" if isinstance(error, TimeoutError) else "lost")

    def read_holding(self, address: int, count: int, unit: int) -> Any:
        if self._link is None:
            self._link = self._make(*self._arguments)
        self._transaction = (self._transaction + 1) % 65536
        try:
            self._link.send(struct.pack(">HHHBBHH", self._transaction, 0, 6, unit, 3, address, count))
            return self._answer(self._link, count)
        except OSError as error:
            if not isinstance(error, TimeoutError):
                self.close()
            raise

    def _answer(self, link: PythonLink | ProgramLink, count: int) -> Any:
        data, deadline = b"", time.monotonic() + self._timeout
        while len(data) < 9 + 2 * count:
            more = link.receive(deadline - time.monotonic())
            if not more:
                self.close()
                raise Failure("lost", "the connection was closed")
            data += more
        return struct.unpack(f">{count}H", data[9 : 9 + 2 * count])


if __name__ == "__main__":
    serve(Tls(PythonLink, "Python ssl") if sys.argv[1:] == ["python"] else Tls(ProgramLink, "OpenSSL s_client"))
