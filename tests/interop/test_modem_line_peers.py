"""RTS and DTR as power and reset behind the RFC 2217 server of pySerial, which notes what it is told."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fieldrig.bench import BenchPlan

BENCH = """
[bench]
name = "lab"
profile = "real"
[dut.board]
links = {{ console = {{ port = "rfc2217://{place}", line = "115200 8N1" }} }}
power = {{ line = "dtr", safe = "off" }}
restart = {{ line = "rts", pulse = "20ms" }}
"""


class Server:
    """pySerial's server in front of a port that is looped back, one connection after the other.

    As the example server of pySerial does, it leaves the lines alone when a connection ends.
    """

    def __init__(self) -> None:
        serial, rfc2217 = pytest.importorskip("serial"), pytest.importorskip("serial.rfc2217")
        from serial.urlhandler import protocol_loop

        told = self.told = []  # type: list[tuple[str, bool]]

        class Noting(protocol_loop.Serial):  # type: ignore[misc, name-defined]
            def _update_rts_state(self) -> None:
                told.append(("rts", self._rts_state))

            def _update_dtr_state(self) -> None:
                told.append(("dtr", self._dtr_state))

        self.port: Any = Noting("loop://", timeout=0)
        assert isinstance(self.port, serial.SerialBase)
        self._manager = rfc2217.PortManager
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.place = "{}:{}".format(*self._listener.getsockname())
        self._thread = threading.Thread(target=self._serve, name="serial server")
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        manager = self._manager(self.port, SimpleNamespace(write=connection.sendall))
        while True:
            select.select([connection], [], [])
            try:
                data = connection.recv(1024)
            except OSError:
                return
            if not data:
                return
            self.port.write(b"".join(manager.filter(data)))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.port.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def test_pyserial_sees_power_pulse_and_safe_state(server: Server, tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(BENCH.format(place=server.place))
    with BenchPlan.load(tmp_path / "bench.toml").open(out=tmp_path / "run") as bench:
        board = bench.device("board")
        assert board.power.status() == "on"
        # What we were told has left us; the server may still be at it.
        begun = bench.rig.now()
        while server.told[-1:] != [("dtr", True)]:
            assert (bench.rig.now() - begun).latest < 30, server.told
            bench.sleep("5ms")
        before = len(server.told)
        board.restart()
    told = server.told[before:]
    assert told[:2] == [("rts", True), ("rts", False)]
    assert told[-1] == ("dtr", False), "the guardian cleared it, in a connection of its own"
    assert server.port.dtr is False
