"""Our client against the servers of foreign stacks, their clients against our emulated device, on every transport."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig import Rig, modbus
from fieldrig.errors import ExceptionAnswer
from tests import needs

STACKS = Path(__file__).parent / "stacks"
LINE = "line=19200+8N1"

CLIENTS = [
    *(("pymodbus", transport) for transport in ("tcp", "udp", "rtu+tcp", "ascii+tcp", "rtu", "ascii")),
    ("pyModbusTCP", "tcp"),
    ("modbus_tk", "tcp"),
    ("modbus_tk", "rtu"),
    ("umodbus", "tcp"),
    ("umodbus", "rtu"),
    ("minimalmodbus", "rtu"),
    ("minimalmodbus", "ascii"),
    *(("tokio-modbus", transport) for transport in ("tcp", "rtu+tcp", "rtu")),
    *(("voltage_modbus", transport) for transport in ("tcp", "rtu+tcp", "rtu", "ascii")),
]
SERVERS = [
    *(("pymodbus", transport) for transport in ("tcp", "udp", "rtu+tcp", "ascii+tcp", "rtu", "ascii")),
    ("pyModbusTCP", "tcp"),
    ("modbus_tk", "tcp"),
    ("modbus_tk", "rtu"),
    ("umodbus", "tcp"),
    ("umodbus", "rtu"),
    *(("tokio-modbus", transport) for transport in ("tcp", "rtu+tcp", "rtu")),
    *(("voltage_modbus", transport) for transport in ("tcp", "rtu")),
]
IN_RUST = ("tokio-modbus", "voltage_modbus")


def program(side: str, stack: str) -> list[str]:
    """How the client or the server of a stack is started."""
    if stack in IN_RUST:
        return [str(needs.rust_stacks()), side, stack]
    return [sys.executable, str(STACKS / f"{side}.py"), stack]


def place(transport: str) -> str:
    """Where our device is, for a client of this transport."""
    if transport in ("rtu", "ascii"):
        return f"{transport}+pty://?{LINE}"
    return f"{transport}://127.0.0.1:0"


@pytest.mark.parametrize(("stack", "transport"), CLIENTS)
def test_a_foreign_client_reads_and_writes_our_device(stack: str, transport: str) -> None:
    client = program("client", stack)
    tables = {"holding": {100: [11, 22, 33, 44]}, "coils": {0: [True, False, False]}}
    with Rig(trace="counts") as rig, modbus.Device(place(transport), unit=1, rig=rig, **tables) as device:  # type: ignore[arg-type]
        address = device.url.partition("://")[2].partition("?")[0]
        done = subprocess.run([*client, transport, address], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1]) == {
            "first": [11, 22, 33],
            "then": [11, 99, 7, 8],
            "coils": [True, True, False],
            "exception": 2,
        }
        assert device.get("holding", 100, 4) == (11, 99, 7, 8)
        assert device.get("coils", 0, 3) == (1, 1, 0)


@contextlib.contextmanager
def served(stack: str, transport: str, path: str = "") -> Iterator[str]:
    """A foreign server; gives its port, or "ready"."""
    command = [*program("server", stack), transport, path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.parametrize(("stack", "transport"), SERVERS)
def test_our_client_reads_and_writes_a_foreign_server(stack: str, transport: str, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stacked:
        rig = stacked.enter_context(Rig(trace="counts"))
        if transport in ("rtu", "ascii"):
            link = tmp_path / "line"
            url = f"{transport}+pty://?{LINE}&link={link}"
            client = stacked.enter_context(modbus.Client(url, timeout="5s", rig=rig))
            assert stacked.enter_context(served(stack, transport, str(link))) == "ready"
        else:
            port = stacked.enter_context(served(stack, transport))
            client = stacked.enter_context(modbus.Client(f"{transport}://127.0.0.1:{port}", timeout="5s", rig=rig))
        assert client.read_holding(10, 4).values == (2570, 2827, 3084, 3341)
        client.write_register(10, 1)
        client.write_registers(11, [2, 0xFFFF])
        assert client.read_holding(10, 4).values == (1, 2, 0xFFFF, 3341)
        client.write_coil(1, True)
        client.write_coils(3, [False, True])
        assert client.read_coils(0, 6).values == (True, True, False, False, True, False)
        with pytest.raises(ExceptionAnswer) as caught:
            client.read_holding(5000)
        assert caught.value.code == 2
