"""Certificates for clients and servers, made by the `openssl` program when they are wanted.

Rules of this file:
- Whoever signs is a CA whose certificate and key are files: the one that the server under test trusts, or a stranger.
- Dates, keys, roles and chains are free, so that every certificate a server must refuse can be had.
"""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from ..outcome import NotRun
from . import der

ROLE = "1.3.6.1.4.1.50316.802.1"
"""The extension that holds the role (SEC R-22)."""

ROLE_OID = bytes.fromhex("060b2b0601040183890c862201")
"""The same in DER."""
OTHER_OID = ROLE_OID[:-1] + b"\x02"

PAST = ("20010101000000Z", "20020101000000Z")
FUTURE = ("20900101000000Z", "20910101000000Z")
NOW = ("20200101000000Z", "20891231000000Z")


class PkiError(NotRun):
    """A certificate cannot be made; the text says why."""


@dataclass(frozen=True)
class Identity:
    """A certificate with what stands between it and its CA, and its key: PEM files."""

    cert: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """Who signs: PEM files."""

    cert: Path
    key: Path


class Pki:
    """A folder of certificates, each made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._made: dict[str, Identity] = {}
        self._lock = threading.RLock()

    def authority(self, name: str) -> Authority:
        """A CA of our own."""
        with self._lock:
            made = self._made.get(name)
            if made is None:
                key, cert = self._key(name, "ec"), self._folder / f"{name}.pem"
                self._openssl(
                    "req", "-x509", "-new", "-key", key, "-out", cert, "-subj", f"/CN={name}", "-days", "3650"
                )
                made = self._made[name] = Identity(cert, key)
            return Authority(made.cert, made.key)

    def identity(
        self,
        name: str,
        signed_by: Authority,
        *,
        key: str = "ec",
        dates: tuple[str, str] = NOW,
        extensions: tuple[str, ...] = (),
        ca: bool = False,
        through: Identity | None = None,
    ) -> Identity:
        """A certificate; `through` is what stands between it and the CA, and then signs it.

        Raises `PkiError`.
        """
        with self._lock:
            if name in self._made:
                return self._made[name]
            signer = signed_by if through is None else Authority(through.cert, through.key)
            private, request = self._key(name, key), self._folder / f"{name}.csr"
            self._openssl("req", "-new", "-key", private, "-out", request, "-subj", f"/CN={name}")
            cert = self._folder / f"{name}.pem"
            self._sign(name, request, cert, signer, dates, extensions, ca=ca)
            if through is not None:
                cert.write_text(cert.read_text("ascii") + through.cert.read_text("ascii"), "ascii")
            self._made[name] = Identity(cert, private)
            return self._made[name]

    def with_two_roles(self, name: str, signed_by: Authority, first: str, second: str) -> Identity:
        """A certificate with the role extension twice, which no program makes.

        One is made with another identifier of the same length, which is then changed, and the whole is signed anew.
        """
        with self._lock:
            made = self._made.get(name)
            if made is not None:
                return made
            other = ROLE[:-1] + "2"
            made = self.identity(name, signed_by, extensions=(role(first), f"{other}=ASN1:UTF8String:{second}"))
            tbs, algorithm, _ = der.parts(ssl.PEM_cert_to_DER_cert(made.cert.read_text("ascii")))
            changed, signature = self._folder / f"{name}.tbs", self._folder / f"{name}.sig"
            changed.write_bytes(tbs.replace(OTHER_OID, ROLE_OID))
            self._openssl("dgst", "-sha256", "-sign", signed_by.key, "-out", signature, changed)
            whole = der.certificate(changed.read_bytes(), algorithm, signature.read_bytes())
            made.cert.write_text(ssl.DER_cert_to_PEM_cert(whole), "ascii")
            return made

    def _sign(
        self,
        name: str,
        request: Path,
        cert: Path,
        signer: Authority,
        dates: tuple[str, str],
        extensions: tuple[str, ...],
        *,
        ca: bool,
    ) -> None:
        """By `openssl ca`: what else lets dates be chosen needs a newer program."""
        work = self._folder / f"{name}.ca"
        work.mkdir()
        (work / "index.txt").write_text("", "ascii")
        constraint = "critical,CA:TRUE" if ca else "critical,CA:FALSE"
        lines = [f"basicConstraints={constraint}", "subjectAltName=IP:127.0.0.1,DNS:localhost", *extensions]
        config = work / "ca.cnf"
        config.write_text(
            "\n".join(
                (
                    "[ca]",
                    "default_ca=own",
                    "[own]",
                    f"new_certs_dir={work}",
                    f"database={work / 'index.txt'}",
                    "rand_serial=yes",
                    "default_md=sha256",
                    "policy=any",
                    "x509_extensions=ext",
                    "unique_subject=no",
                    "[any]",
                    "commonName=supplied",
                    "[ext]",
                    *lines,
                )
            ),
            "utf-8",
        )
        begin, end = dates
        self._openssl(
            *("ca", "-batch", "-notext", "-config", config, "-cert", signer.cert, "-keyfile", signer.key),
            *("-startdate", begin, "-enddate", end, "-in", request, "-out", cert),
        )

    def _key(self, name: str, kind: str) -> Path:
        path = self._folder / f"{name}.key"
        options = ("RSA", "rsa_keygen_bits:2048") if kind == "rsa" else ("EC", "ec_paramgen_curve:P-256")
        self._openssl("genpkey", "-algorithm", options[0], "-pkeyopt", options[1], "-out", path)
        return path

    def _openssl(self, *arguments: object) -> None:
        program = shutil.which("openssl")
        if program is None:
            raise PkiError("certificates are made by the program `openssl`, which is not installed")
        done = subprocess.run(
            [program, *map(str, arguments)], capture_output=True, text=True, cwd=self._folder, timeout=60, check=False
        )
        if done.returncode != 0:
            raise PkiError(f"openssl {arguments[0]}: {done.stderr.strip().splitlines()[-1:]}")


def role(text: str, kind: str = "UTF8String") -> str:
    """The extension that gives a role; `kind` is the type of the string."""
    return f"{ROLE}=ASN1:{kind}:{text}"
