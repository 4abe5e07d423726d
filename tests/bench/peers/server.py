"""Our emulated device in a process of its own: `python -m tests.bench.peers.server NAME`.

Prints its port and serves until killed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable


def fieldrig(trace: str) -> Callable[[], None]:
    """Our emulated device, with a trace level."""

    def serve() -> None:
        from fieldrig import Rig, modbus

        rig = Rig(folder=tempfile.mkdtemp(prefix="fieldrig-bench-"), trace=trace, name="bench")
        device = modbus.Device("tcp://127.0.0.1:0", unit=1, holding={0: [0] * 100}, rig=rig)
        print(device.url.rpartition(":")[2], flush=True)
        sys.stdin.read()

    return serve


SERVERS: dict[str, Callable[[], None]] = {
    "fieldrig-full": fieldrig("full"),
    "fieldrig-counts": fieldrig("counts"),
}


if __name__ == "__main__":
    SERVERS[sys.argv[1]]()
