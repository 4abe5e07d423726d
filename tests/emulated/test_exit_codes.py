"""The exit codes of `fieldrig`, each from a run: 0 pass, 1 fail, 2 usage, 3 bench, 4 inconclusive, 5 nothing judged."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from fieldrig import modbus

ROW = "FC03-01"


def fieldrig(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    command = [sys.executable, "-W", "error", "-m", "fieldrig", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def conform(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Judges a server, quickly."""
    return fieldrig("conform", "modbus-server", url, "--timeout", "300ms", "--silence", "50ms", *arguments)


@pytest.fixture
def device() -> Iterator[modbus.Device]:
    with modbus.Device(holding={0: list(range(200))}) as made:
        yield made


class Script:
    """A server that accepts connections, and does with each what the test says."""

    def __init__(self, serve) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._serve = serve
        self._thread = threading.Thread(target=self._run, name="script")
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while True:
            try:
                connection, _ = self._listener.accept()
                with connection:
                    self._serve(self, number, connection)
            except OSError:
                return
            number += 1

    def close(self) -> None:
        """Nobody is served any more."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # closed before
        self._listener.close()

    def __enter__(self) -> Script:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._thread.join()


def silent(script: Script, number: int, connection: socket.socket) -> None:
    while connection.recv(260):
        pass


def refuses_everything(script: Script, number: int, connection: socket.socket) -> None:
    while request := connection.recv(260):
        connection.sendall(request[:4] + b"\x00\x03" + request[6:7] + bytes([request[7] | 0x80, 2]))


def mail(script: Script, number: int, connection: socket.socket) -> None:
    connection.sendall(b"220 mail ready\r\n")
    while connection.recv(260):
        connection.sendall(b"500 what?\r\n")


def vanishes_after(count: int):
    """Answers reads with zeros; after so many connections, it is gone."""

    def serve(script: Script, number: int, connection: socket.socket) -> None:
        if number == count:
            script.close()
            return
        while request := connection.recv(260):
            size = 2 * int.from_bytes(request[10:12], "big")
            head = request[:4] + (3 + size).to_bytes(2, "big")
            connection.sendall(head + request[6:8] + bytes([size]) + bytes(size))

    return serve


def test_0_pass(device: modbus.Device) -> None:
    ended = conform(device.url, "--only", ROW)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout


def test_1_fail(device: modbus.Device) -> None:
    device.habit("transaction_ids", "counter")
    ended = conform(device.url, "--only", "MBAP")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "\nfail: MBAP" in ended.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["conform", "modbus-server", "tpc://127.0.0.1:502"],
        ["conform", "modbus-server", "tcp://127.0.0.1"],
        ["conform", "modbus-server", "tcp://127.0.0.1:99999"],
        ["conform", "modbus-server", "tcp://127.0.0.1:502", "--unit", "256"],
        ["conform", "modbus-server", "tcp://127.0.0.1:502", "--timeout", "5"],
        ["conform", "modbus-server", "tcp://127.0.0.1:502", "--only", "XYZ"],
        ["conform", "modbus-server", "tcp://127.0.0.1:502", "--caps", "does-not-exist.toml"],
        ["conform", "modbus-server", "tcp://127.0.0.1:502", "--colour"],
        ["conform", "modbus-clients", "tcp://127.0.0.1:502"],
        ["confrom"],
        [],
    ],
    ids=" ".join,
)
def test_2_usage(arguments: list[str]) -> None:
    ended = fieldrig(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Traceback" not in ended.stderr
    assert ended.stderr.strip()


def test_3_bench_refused() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
        ended = conform(place)
    assert ended.returncode == 3
    assert ended.stderr.startswith(f"BENCH: cannot connect to {place}: ")
    assert "hint: " in ended.stderr


def test_3_bench_speaks_something_else() -> None:
    with Script(mail) as script:
        ended = conform(script.url)
    assert ended.returncode == 3
    assert ended.stderr.startswith(f"BENCH: {script.url} does not speak Modbus/TCP: ")


@pytest.mark.parametrize("count", [0, 2])
def test_3_bench_vanished_while_it_was_probed(count: int) -> None:
    with Script(vanishes_after(count)) as script:
        ended = conform(script.url)
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert ended.stderr.startswith("BENCH: ")
    assert "Traceback" not in ended.stderr


def test_1_a_server_that_dies_of_a_request_fails_that_row_and_the_others_are_not_tested() -> None:
    with Script(vanishes_after(12)) as script:
        ended = conform(script.url)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "afterwards connections are refused" in ended.stdout
    assert ended.stdout.count("\nfail: ") == 1
    assert "before this row a plain read was not answered (refused)" in ended.stdout


def test_4_inconclusive() -> None:
    with Script(silent) as script:
        ended = conform(script.url)
    assert ended.returncode == 4
    assert ended.stderr.startswith(f"INCONCLUSIVE: {script.url} accepts connections but did not answer")


def test_5_nothing_judged() -> None:
    with Script(refuses_everything) as script:
        ended = conform(script.url)
    assert ended.returncode == 5
    assert "no address that can be read was found" in ended.stdout + ended.stderr
