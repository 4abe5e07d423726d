"""Has children by fork, which end as interpreters do, and by spawn; then shows that its own ports still work."""

from __future__ import annotations

import multiprocessing
import os
import sys

from fieldrig import modbus
from fieldrig.errors import ForkError


def spawned() -> None:
    """What is made in the child works there."""
    with modbus.Device(holding={0: [8]}) as device, modbus.Client(device.url) as client:
        print("spawned:", *client.read_holding(0, 1).values, flush=True)


def main() -> None:
    """The parent."""
    device = modbus.Device(holding={0: [7]})
    client = modbus.Client(device.url)
    child = os.fork()
    if child == 0:
        try:
            client.read_holding(0, 1)
        except ForkError:
            print("forked: ForkError", flush=True)
        sys.exit(0)  # with everything that an interpreter does at its end
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    process = multiprocessing.get_context("spawn").Process(target=spawned)
    process.start()
    process.join()
    assert process.exitcode == 0
    print("parent:", *client.read_holding(0, 1).values, flush=True)


if __name__ == "__main__":
    main()
