"""`fieldrig check` and certificates: those of files, and those that a server shows, made with the openssl program."""

from __future__ import annotations

import datetime
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fieldrig.cli import certificates
from fieldrig.cli.finding import Finding
from tests import needs

AUTHORITY = """\
[ca]
default_ca = here
[here]
database = {folder}/index.txt
new_certs_dir = {folder}
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
commonName = supplied
[authority]
basicConstraints = critical, CA:TRUE
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
subjectAltName = IP:127.0.0.1
authorityKeyIdentifier = keyid
"""

BENCH = """\
[bench]
name = "lab"
profile = "real"
[link.uplink]
protocol = "mqtt5"
real = {{ broker = "{broker}"{ca} }}
[dut.meter]
links = {{ uplink = "client" }}
"""


NOW = datetime.datetime.now(datetime.UTC)
HOUR = datetime.timedelta(hours=1)
"""Every certificate has that much more than its days, so that a slow test counts the same days."""


@dataclass(frozen=True)
class Link:
    """A link as `certificates.findings` wants it."""

    outside: str | None
    ca: Path | None
    name: str = "uplink"
    ca_place: str = "bench.toml:6:40"


class Office:
    """Issues certificates that begin and end when a test says: days from now."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._openssl = needs.program("openssl")
        (folder / "office.cnf").write_text(AUTHORITY.format(folder=folder))
        (folder / "index.txt").touch()

    def authority(self, name: str, begins: int = -1000, ends: int = 1000) -> Path:
        """One that signs itself; gives its certificate, beside which its key lies."""
        return self._issue(name, begins, ends, ["-selfsign", "-keyfile", f"{name}.key", "-extensions", "authority"])

    def server(self, name: str, authority: Path, begins: int = -1000, ends: int = 1000) -> Path:
        """One for 127.0.0.1."""
        signed = ["-cert", authority.name, "-keyfile", authority.with_suffix(".key").name, "-extensions", "server"]
        return self._issue(name, begins, ends, signed)

    def _issue(self, name: str, begins: int, ends: int, how: list[str]) -> Path:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"]
        self._run("req", "-new", *key, "-out", f"{name}.csr", "-subj", f"/CN={name}", "-config", "office.cnf")
        period = ["-startdate", _at(begins), "-enddate", _at(ends)]
        files = ["-in", f"{name}.csr", "-out", f"{name}.pem"]
        self._run("ca", "-batch", "-notext", "-config", "office.cnf", *how, *period, *files)
        return self.folder / f"{name}.pem"

    def _run(self, *arguments: str) -> None:
        command = [self._openssl, *arguments]
        ended = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr


def _at(days: int) -> str:
    """An instant as openssl wants it."""
    return (NOW + datetime.timedelta(days=days) + HOUR).strftime("%Y%m%d%H%M%SZ")


def _day(days: int) -> str:
    """Its day as people are told it."""
    return (NOW + datetime.timedelta(days=days) + HOUR).strftime("%Y-%m-%d")


def now(days: float = 0) -> float:
    """Seconds since 1970, so many days from now."""
    return NOW.timestamp() + days * certificates.DAY


class Server:
    """A server with TLS on loopback, which notes what it is told above it."""

    def __init__(self, certificate: Path | None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            # Nobody would read them, and what is unread turns the end of a connection into a reset.
            self._context.num_tickets = 0
            self._context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        self.heard: list[bytes] = []
        self.place = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"mqtts://{self.place}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if self._context is None:  # no TLS at all
                    if not connection.recv(1024):
                        return
                    connection.sendall(b"what do you want?\r\n")
                    continue
                if not connection.recv(1, socket.MSG_PEEK):
                    return
                try:
                    with self._context.wrap_socket(connection, server_side=True) as tls:
                        self.heard.append(tls.recv(1024))
                except ssl.SSLEOFError:
                    self.heard.append(b"")  # who was content with the handshake went without a word
                except OSError:
                    continue  # who does not like the certificate goes away

    def close(self) -> None:
        """Ends it: a connection without a byte is its sign."""
        address = self._listener.getsockname()
        socket.create_connection(address).close()
        self._thread.join()
        self._listener.close()


@contextmanager
def serving(certificate: Path | None) -> Iterator[Server]:
    server = Server(certificate)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return Office(tmp_path_factory.mktemp("office"))


def found(link: Link, at: float | None = None, days: int = 30) -> list[Finding]:
    return list(certificates.findings([link], now() if at is None else at, days * certificates.DAY))


def test_a_file_says_until_when_each_certificate_is_valid(office: Office, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    good, ending = office.authority("good", ends=400), office.authority("ending", ends=5)
    both.write_text("# the château's authorities\n" + good.read_text() + ending.read_text())
    verdicts = {one.says: (one.what, one.name, one.verdict) for one in found(Link(None, both))}
    assert verdicts == {
        f"both.pem: good: valid until {_day(400)} (400 days)": ("certificate", "uplink.ca", "ok"),
        f"both.pem: ending: valid until {_day(5)} (5 days)": ("certificate", "uplink.ca", "warning"),
    }
    assert {one.verdict for one in found(Link(None, both), days=3)} == {"ok"}


def test_an_expired_certificate_is_a_problem_and_one_of_tomorrow_too(office: Office) -> None:
    ending = office.authority("ending-soon", ends=5)
    [expired] = found(Link(None, ending), now(6))
    assert (expired.verdict, expired.hint) == ("problem", "renew it")
    assert expired.says == f"ending-soon.pem: ending-soon: expired on {_day(5)}"
    [early] = found(Link(None, ending), now(-1001))
    assert (early.verdict, early.says) == (
        "problem",
        f"ending-soon.pem: ending-soon: not valid before {_day(-1000)}",
    )


def test_a_file_that_cannot_be_read_is_a_problem_at_its_place(tmp_path: Path) -> None:
    text, broken = tmp_path / "text.pem", tmp_path / "broken.pem"
    text.write_text("trust everybody\n")
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for file, reason in (
        (tmp_path / "none.pem", "cannot be read: No such file or directory"),
        (tmp_path, "cannot be read: Is a directory"),
        (text, "is no PEM file"),
        (broken, "cannot be read: "),
    ):
        [one] = found(Link(None, file))
        assert one.verdict == "problem"
        assert one.says.startswith(f"bench.toml:6:40: `{file}` {reason}"), one.says
        assert "beside the bench file" in one.hint


def test_a_certificate_that_signs_nothing_is_no_ground_for_silence(office: Office) -> None:
    [one] = found(Link(None, office.server("leaf", office.authority("root"))))
    assert one.verdict == "warning"
    assert one.says == "leaf.pem: 1 of 1 certificates cannot sign others; until when is not known"


def test_a_server_says_until_when_its_certificate_is_valid_and_hears_nothing(office: Office) -> None:
    authority = office.authority("bench-ca")
    with serving(office.server("broker", authority, ends=5)) as server:
        ends = f"{server.place}: broker: valid until {_day(5)} (5 days)"
        link = Link(server.url, authority)
        assert [(one.name, one.verdict, one.says) for one in found(link)][1:] == [("uplink.broker", "warning", ends)]
        assert [(one.name, one.verdict, one.says) for one in found(link, days=1)][1:] == [("uplink.broker", "ok", ends)]
    assert server.heard == [b"", b""]


def test_a_server_that_cannot_be_trusted_is_a_problem_with_its_reason(office: Office) -> None:
    authority, other = office.authority("right-ca"), office.authority("wrong-ca")
    with serving(office.server("expired", authority, ends=-2)) as server:
        one = found(Link(server.url, authority))[-1]
        assert (one.verdict, one.says) == (
            "problem",
            f"{server.place}: its certificate is not accepted: certificate has expired",
        )
    with serving(office.server("fine", authority)) as server:
        one = found(Link(server.url, other))[-1]
        assert one.verdict == "problem"
        assert one.says == f"{server.place}: its certificate is not accepted: unable to get local issuer certificate"
        assert one.hint.startswith("bench.toml:6:40: ")
        without = found(Link(server.url, None))[-1]
        assert without.verdict == "problem" and "ca = " in without.hint
        name = server.url.replace("127.0.0.1", "localhost")
        elsewhere = found(Link(name, authority))[-1]
        assert elsewhere.verdict == "problem" and "Hostname mismatch" in elsewhere.says
        unread = found(Link(server.url, Path("/nowhere/ca.pem")))
        assert [one.verdict for one in unread] == ["problem", "not run"]


def test_a_server_without_tls_and_none_at_all_are_problems(office: Office) -> None:
    authority = office.authority("some-ca")
    with serving(None) as server:
        one = found(Link(server.url, authority))[-1]
        assert (one.verdict, one.hint) == ("problem", "is it TLS?")
        assert one.says.startswith(f"{server.place}: no TLS connection: ")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # taken, but nobody listens
        place = f"127.0.0.1:{closed.getsockname()[1]}"
        one = found(Link(f"mqtts://{place}", authority))[-1]
    assert (one.verdict, one.says) == ("problem", f"{place}: Connection refused")


def check(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`fieldrig check` as a user runs it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FIELDRIG")}
    command = [sys.executable, "-m", "fieldrig", "check", "bench.toml", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_check_of_a_bench_says_it_and_that_a_run_cannot_use_tls_yet(office: Office, tmp_path: Path) -> None:
    authority = office.authority("lab-ca", ends=20)
    (tmp_path / "ca.pem").write_text(authority.read_text())
    with serving(office.server("lab-broker", authority, ends=500)) as server:
        (tmp_path / "bench.toml").write_text(BENCH.format(broker=server.url, ca=', ca = "ca.pem"'))
        ended = check(tmp_path, "--format", "json", "--no-identity")
        table = check(tmp_path, "--no-identity", "--expiry", "48h").stdout
    assert ended.returncode == 3, ended.stdout + ended.stderr
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    said = {(line["what"], line["name"]): (line["verdict"], line["says"]) for line in lines[:-1]}
    problem, reason = said.pop(("broker", "uplink"))
    assert problem == "problem"
    assert reason == f"bench.toml:6:19: TLS is not there yet, and `{server.url}` needs it"
    assert said == {
        ("device", "meter"): ("real", "uplink (mqtt5)"),
        ("certificate", "uplink.ca"): ("warning", f"ca.pem: lab-ca: valid until {_day(20)} (20 days)"),
        ("certificate", "uplink.broker"): ("ok", f"{server.place}: lab-broker: valid until {_day(500)} (500 days)"),
    }
    assert lines[-1] == {"kind": "check", "bench": "lab", "findings": 4, "problems": 1, "warnings": 1}
    assert table.splitlines()[-1] == "1 of 4 are not ready"
    assert server.heard == [b"", b""]


def test_a_time_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(BENCH.format(broker="embedded", ca=""))
    ended = check(tmp_path, "--expiry", "soon")
    assert ended.returncode == 2
    assert ended.stderr.startswith("USAGE: --expiry soon: that is no time; write days, such as 30d")
