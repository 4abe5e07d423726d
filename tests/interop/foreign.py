"""Foreign Modbus servers in processes of their own, found or compiled, started and stopped."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests import needs

SERVERS = Path(__file__).parent / "servers"


def capabilities_of(name: str) -> Path:
    """What a server was configured with."""
    own = SERVERS.parent / f"capabilities_{name}.toml"
    return own if own.exists() else SERVERS.parent / "capabilities.toml"


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[int]:
    """Runs a server that prints its port and ends when its standard input closes; gives the port."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.strip().isdigit(), f"{command[0]} printed {line!r} instead of its port"
        yield int(line)
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def pymodbus_server(_: Path) -> list[str]:
    return [sys.executable, str(SERVERS / "pymodbus_server.py")]


def pymodbustcp_server(_: Path) -> list[str]:
    return [sys.executable, str(SERVERS / "pymodbustcp_server.py")]


def libmodbus_server(folder: Path) -> list[str]:
    """Compiles ours against the library that the machine has."""
    header = needs.header("modbus/modbus.h", "libmodbus-dev")
    compiler = shutil.which("cc") or needs.program("gcc")
    program = folder / "libmodbus_server"
    source = SERVERS / "libmodbus_server.c"
    arguments = ["-O1", "-Wall", "-Wextra", "-Werror", f"-I{header.parent}", "-o", str(program), str(source)]
    subprocess.run([compiler, *arguments, "-lmodbus"], check=True)
    return [str(program)]


def rust_server(stack: str) -> Callable[[Path], list[str]]:
    """The server of a stack in Rust."""
    return lambda _: [str(needs.rust_stacks()), "judged", stack]


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "pymodbus": pymodbus_server,
    "pyModbusTCP": pymodbustcp_server,
    "libmodbus": libmodbus_server,
    "tokio-modbus": rust_server("tokio-modbus"),
    "voltage_modbus": rust_server("voltage_modbus"),
}
"""Each server by the name under which expected.toml pins its verdicts."""
