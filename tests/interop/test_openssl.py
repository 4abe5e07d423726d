"""Modbus/TCP Security with OpenSSL at the other end: its programs, and Python's `ssl`."""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig import Rig, modbus
from fieldrig.errors import PortError, Untrusted
from fieldrig.suites.modbus_server import rows
from fieldrig.suites.modbus_server.judge import judge
from fieldrig.suites.modbus_server.outcome import requirements
from fieldrig.suites.modbus_server.saboteurs.front import Front, Terminator
from fieldrig.suites.modbus_server.saboteurs.front import works as the_works
from fieldrig.suites.modbus_server.saboteurs.shielded import serving
from fieldrig.suites.modbus_server.secure.hello import NULL_ENCRYPTION, WEAK
from fieldrig.suites.modbus_server.secure.pki import Identity
from tests import needs

from .foreign import COMMANDS, running

VERSIONS = ("1.2", "1.3")
REQUEST = bytes.fromhex("000100000006010300000002")
ANSWER = bytes.fromhex("000100000007010304000a0014")
LIMIT = 20.0


@pytest.fixture(scope="module")
def works() -> Iterator[object]:
    needs.program("openssl")
    yield the_works()


def device_url(kind: str) -> str:
    ours, identity = the_works(), the_works().device(kind)
    return f"tls://127.0.0.1:0?ca={ours.ca.cert}&cert={identity.cert}&key={identity.key}"


def client_query() -> str:
    client = the_works().engineer()
    return f"ca={the_works().ca.cert}&cert={client.cert}&key={client.key}"


def read(stream: int, until: bytes) -> bytes:
    """What comes from a program, until `until` is in it."""
    data, deadline = b"", time.monotonic() + LIMIT
    while until not in data and time.monotonic() < deadline:
        ready, _, _ = select.select([stream], [], [], 0.1)
        if ready:
            more = os.read(stream, 65536)
            if not more:
                break
            data += more
    return data


@contextlib.contextmanager
def program(*arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """An `openssl` program with pipes, ended at the end."""
    command = [needs.program("openssl"), *map(str, arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("key", ["ec", "rsa"])
@pytest.mark.parametrize("version", VERSIONS)
def test_s_client_gets_the_same_bytes_as_over_plain_tcp(version: str, key: str, works: object) -> None:
    client = the_works().engineer()
    with modbus.Device(device_url(key), holding={0: [10, 20]}) as device:
        options = ("-cert", client.cert, "-key", client.key, "-CAfile", the_works().ca.cert, "-verify_return_error")
        address = device.url.removeprefix("tls://")
        tls = f"-tls{version.replace('.', '_')}"
        with program("s_client", "-quiet", tls, "-connect", address, *options) as process:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(REQUEST)
            process.stdin.flush()
            said = read(process.stdout.fileno(), ANSWER)
    assert said.endswith(ANSWER), said


@pytest.mark.parametrize("version", VERSIONS)
def test_s_server_hears_the_same_bytes_as_over_plain_tcp(version: str, works: object) -> None:
    identity = the_works().device("ec")
    chain = ("-cert", identity.cert, "-cert_chain", identity.cert, "-key", identity.key)
    asks = ("-Verify", "1", "-CAfile", the_works().ca.cert, "-verify_return_error", "-naccept", "1")
    with program("s_server", "-accept", "127.0.0.1:0", *chain, *asks) as server:
        assert server.stdin is not None and server.stdout is not None
        port = re.search(rb"ACCEPT 127\.0\.0\.1:(\d+)\n", read(server.stdout.fileno(), b"ACCEPT 127.0.0.1:"))
        assert port is not None
        heard: list[bytes] = []

        def answer() -> None:
            assert server.stdin is not None and server.stdout is not None
            heard.append(read(server.stdout.fileno(), REQUEST))
            server.stdin.write(ANSWER)
            server.stdin.flush()

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"tls://127.0.0.1:{int(port[1])}?{client_query()}&min={version}&max={version}"
        with modbus.Client(url, timeout="20s") as client:
            assert client.read_holding(0, 2).values == (10, 20)
        thread.join()
    assert REQUEST in heard[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_of_the_standard_library_hears_the_same_bytes(version: str, works: object) -> None:
    identity = the_works().device("rsa")
    context = Front().context(identity, the_works().ca, the_works().pki)
    heard: list[tuple[bytes, str | None]] = []

    def serve(listener: socket.socket) -> None:
        plain, _ = listener.accept()
        with context.wrap_socket(plain, server_side=True) as connection:
            heard.append((connection.recv(64), connection.version()))
            connection.sendall(ANSWER)
            connection.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        url = f"tls://127.0.0.1:{listener.getsockname()[1]}?{client_query()}&min={version}&max={version}"
        with modbus.Client(url) as client:
            assert client.read_holding(0, 2).values == (10, 20)
        thread.join()
    assert heard == [(REQUEST, f"TLSv{version}")]


def test_the_suites_of_the_standard_are_taken_both_ways(works: object) -> None:
    for kind, suite in (("ec", "ECDHE-ECDSA-AES128-GCM-SHA256"), ("rsa", "ECDHE-RSA-AES128-GCM-SHA256")):
        iana = f"TLS_ECDHE_{'ECDSA' if kind == 'ec' else 'RSA'}_WITH_AES_128_GCM_SHA256"
        with modbus.Device(f"{device_url(kind)}&suites={iana}", holding={0: [10, 20]}) as device:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(the_works().ca.cert)
            context.load_cert_chain(the_works().engineer().cert, the_works().engineer().key)
            host, port = device.url.removeprefix("tls://").rsplit(":", 1)
            plain = socket.create_connection((host, int(port)))
            with context.wrap_socket(plain, server_hostname=host) as connection:
                assert connection.cipher() == (suite, "TLSv1.2", 128)
                connection.sendall(REQUEST)
                assert connection.recv(64) == ANSWER


@pytest.mark.parametrize("version", VERSIONS)
def test_tshark_reads_cipher_text_with_the_keys_of_the_capture(version: str, tmp_path: Path, works: object) -> None:
    tshark = needs.program("tshark")
    with Rig(folder=str(tmp_path)) as rig:
        with modbus.Device(f"{device_url('ec')}&capture=cipher", holding={0: [10, 20]}, rig=rig) as device:
            with modbus.Client(f"{device.url}?{client_query()}&max={version}&capture=cipher", rig=rig) as client:
                client.read_holding(0, 2)
                client.write_register(1, 7)
    # Each end captures the requests and the answers.
    assert decrypted(tshark, tmp_path) == [*["1\t3"] * 4, *["2\t6"] * 4]


@pytest.mark.parametrize("version", VERSIONS)
def test_tshark_reads_the_capture_of_one_end(version: str, tmp_path: Path, works: object) -> None:
    tshark = needs.program("tshark")
    with Rig(trace="counts") as other, modbus.Device(device_url("ec"), holding={0: [10, 20]}, rig=other) as device:
        with Rig(folder=str(tmp_path)) as rig:
            with modbus.Client(f"{device.url}?{client_query()}&max={version}&capture=cipher", rig=rig) as client:
                client.read_holding(0, 2)
                client.write_register(1, 7)
    assert decrypted(tshark, tmp_path) == ["1\t3", "1\t3", "2\t6", "2\t6"]


def decrypted(tshark: str, folder: Path) -> list[str]:
    """Transaction ids and functions that tshark reads in the cipher text of a capture, in its order; that holds nothing
    malformed."""
    fields = ("-e", "mbtcp.trans_id", "-e", "modbus.func_code")
    command = [tshark, "-r", str(folder / "trace.pcapng"), "-T", "fields", "-Y", "tls && mbtcp", *fields]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    command = [tshark, "-r", str(folder / "trace.pcapng"), "-Y", "_ws.malformed"]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == ""
    return done.stdout.splitlines()


def test_without_being_asked_nothing_of_the_keys_is_kept(tmp_path: Path, works: object) -> None:
    with Rig(folder=str(tmp_path)) as rig:
        with modbus.Device(device_url("ec"), holding={0: [10, 20]}, rig=rig) as device:
            with modbus.Client(f"{device.url}?{client_query()}", rig=rig) as client:
                client.read_holding(0, 2)
    trace = (tmp_path / "trace.pcapng").read_bytes()
    assert b"TRAFFIC_SECRET" not in trace and b"CLIENT_RANDOM" not in trace
    assert REQUEST in trace, "the plain bytes are captured as ever"


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_openssl_before_pymodbus_passes_every_row(kind: str, tmp_path: Path, works: object) -> None:
    identity: Identity = the_works().device(kind)
    with running(COMMANDS["pymodbus"](tmp_path)) as port:
        with Terminator(Front(), identity, the_works(), ("127.0.0.1", port)) as front:
            server = serving(front.address, fragments=True)
            judged = {
                name: judge(requirements()[name], test, server)
                for name, test in rows.tests().items()
                if name.startswith("SEC-")
            }
    other = {"ec": "SEC-09", "rsa": "SEC-10"}[kind]
    wrong = {name: row.says for name, row in judged.items() if row.verdict != "pass" and name != other}
    assert not wrong
    assert judged[other].verdict == "not applicable"


def hello_of_our_client(query: str) -> tuple[bytes, list[int], dict[int, bytes]]:
    """Compression methods, suites and extensions that our client offers to somebody who never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tls://127.0.0.1:{listener.getsockname()[1]}?{client_query()}{query}"
        thread = threading.Thread(target=connect, args=(url,))
        thread.start()
        connection, _ = listener.accept()
        with connection:
            record = connection.recv(65536)
            while len(record) < 5 + int.from_bytes(record[3:5], "big"):
                record += connection.recv(65536)
        thread.join()
    body = record[9:]
    at = 35 + body[34]
    length = int.from_bytes(body[at : at + 2], "big")
    suites = [int.from_bytes(body[i : i + 2], "big") for i in range(at + 2, at + 2 + length, 2)]
    at += 2 + length
    methods = body[at + 1 : at + 1 + body[at]]
    rest, extensions = body[at + 3 + body[at] :], {}
    while len(rest) >= 4:
        size = int.from_bytes(rest[2:4], "big")
        extensions[int.from_bytes(rest[:2], "big")] = rest[4 : 4 + size]
        rest = rest[4 + size :]
    return methods, suites, extensions


def connect(url: str) -> None:
    """Connects to somebody who hangs up."""
    with pytest.raises(PortError, match="during the TLS handshake"):
        modbus.Client(url)


def test_our_client_offers_what_the_standard_asks_for(works: object) -> None:
    methods, suites, extensions = hello_of_our_client("")
    assert methods == b"\0", "SEC-15: no compression"
    assert 0x00FF in suites or 0xFF01 in extensions, "SEC-16: renegotiation_info"
    assert {0xC02B, 0xC02F} <= set(suites), "SEC-09, SEC-10, SEC-28: the suites of the standard, in counter mode"
    assert not set(suites) & {*NULL_ENCRYPTION, *WEAK}, "SEC-11, SEC-13: nothing without encryption or with old MACs"
    assert b"\x00\x17" in extensions[10] and 11 in extensions, "SEC-10: P-256 and point formats"


def test_our_client_sends_nothing_to_a_server_it_does_not_believe(works: object) -> None:
    """SEC-06, and SEC-07: one that it believes gets its certificate."""
    ours = the_works()
    stranger = ours.pki.identity("device of a stranger", ours.pki.authority("strange CA"))
    heard: list[object] = []

    def serve(listener: socket.socket, context: ssl.SSLContext) -> None:
        plain, _ = listener.accept()
        try:
            with context.wrap_socket(plain, server_side=True) as connection:
                heard.append(connection.getpeercert())
                heard.append(connection.recv(64))
        except ssl.SSLError as error:
            heard.append(error.reason)

    for identity, believed in ((stranger, False), (ours.device("ec"), True)):
        heard.clear()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            context = Front().context(identity, ours.ca, ours.pki)
            thread = threading.Thread(target=serve, args=(listener, context))
            thread.start()
            url = f"tls://127.0.0.1:{listener.getsockname()[1]}?{client_query()}&max=1.2"
            if believed:
                modbus.Client(url).close()
            else:
                with pytest.raises(Untrusted):
                    modbus.Client(url)
            thread.join()
        if believed:
            assert heard[1] == b"" and "client" in str(heard[0])
        else:
            assert heard == ["TLSV1_ALERT_UNKNOWN_CA"]
