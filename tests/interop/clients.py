"""Foreign Modbus clients: the command lines of their drivers, found or compiled."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests import needs

IN_RUST = ("tokio-modbus", "voltage_modbus")
DRIVERS = Path(__file__).parent / "drivers"
CARRIERS = {
    "pymodbus": ("tcp", "tls", "rtu", "ascii"),
    "pyModbusTCP": ("tcp",),
    "minimalmodbus": ("rtu", "ascii"),
    "modbus_tk": ("tcp", "rtu"),
    "uModbus": ("tcp", "rtu"),
    "libmodbus": ("tcp", "rtu"),
    "tokio-modbus": ("tcp", "rtu"),
    "voltage_modbus": ("tcp", "rtu", "ascii"),
    "Python ssl": ("tls",),
    "OpenSSL": ("tls",),
}
"""Each client by the name under which clients.toml pins its verdicts, and on what it is judged."""
TLS_ALONE = {"Python ssl": "python", "OpenSSL": "openssl"}
"""Foreign TLS with a few lines of Modbus in it, judged by the rows about security; the argument of its driver."""


def command(name: str, folder: Path) -> str:
    """The command line of a driver; that of libmodbus is compiled in a folder."""
    if name in IN_RUST:
        return shlex.join([str(needs.rust_stacks()), "driver", name])
    if name in TLS_ALONE:
        return shlex.join([sys.executable, str(DRIVERS / "tls_driver.py"), TLS_ALONE[name]])
    if name != "libmodbus":
        return shlex.join([sys.executable, str(DRIVERS / f"{name.lower()}_driver.py")])
    header = needs.header("modbus/modbus.h", "libmodbus-dev")
    compiler = shutil.which("cc") or needs.program("gcc")
    program = folder / "libmodbus_driver"
    source = DRIVERS / "libmodbus_driver.c"
    arguments = ["-O1", "-Wall", "-Wextra", "-Werror", f"-I{header.parent}", "-o", str(program), str(source)]
    subprocess.run([compiler, *arguments, "-lmodbus"], check=True)
    return str(program)
