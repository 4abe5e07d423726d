"""mbpoll, a foreign client, reads and writes our emulated device."""

from __future__ import annotations

import re
import subprocess
from urllib.parse import urlsplit

from fieldrig import modbus
from tests import needs


def mbpoll(url: str, *arguments: str) -> list[tuple[int, int]]:
    """Runs mbpoll once; gives addresses (as in PDUs) and values."""
    address = urlsplit(url)
    command = [needs.program("mbpoll"), "-1", "-0", "-q", "-m", "tcp", "-p", str(address.port), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stdout + done.stderr
    return [(int(where), int(value)) for where, value in re.findall(r"^\[(\d+)\]:\s+(\d+)", done.stdout, re.M)]


def test_mbpoll_reads_every_table() -> None:
    needs.program("mbpoll")
    tables = {"holding": {10: [230, 65535]}, "input": {0: [7]}, "coils": {3: [True, False]}, "discrete": {0: [True]}}
    with modbus.Device(**tables) as device:
        host = str(urlsplit(device.url).hostname)
        assert mbpoll(device.url, "-t", "4", "-r", "10", "-c", "2", host) == [(10, 230), (11, 65535)]
        assert mbpoll(device.url, "-t", "3", "-r", "0", host) == [(0, 7)]
        assert mbpoll(device.url, "-t", "0", "-r", "3", "-c", "2", host) == [(3, 1), (4, 0)]
        assert mbpoll(device.url, "-t", "1", "-r", "0", host) == [(0, 1)]


def test_mbpoll_writes_a_register() -> None:
    needs.program("mbpoll")
    with modbus.Device(holding={0: [0, 0]}) as device:
        host = str(urlsplit(device.url).hostname)
        mbpoll(device.url, "-t", "4", "-r", "1", host, "4711")
        assert mbpoll(device.url, "-t", "4", "-r", "0", "-c", "2", host) == [(0, 0), (1, 4711)]
