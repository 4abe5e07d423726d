"""Our emulated device in a process of its own: `python -m tests.bench.peers.server NAME`.

Prints its port and serves until killed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fieldrig import modbus

VALUES = [0] * 100


def answer(request: modbus.Request) -> modbus.Reply:
    """What a handler has to do at least: look at the request and give the values it asks for."""
    if request.function != 3 or request.address is None or request.count is None:
        return None
    return VALUES[request.address : request.address + request.count]


def fieldrig(trace: str, handler: Callable[[modbus.Request], modbus.Reply] | None = None) -> Callable[[], None]:
    """Our emulated device, with a trace level."""

    def serve() -> None:
        from fieldrig import Rig, modbus

        rig = Rig(folder=tempfile.mkdtemp(prefix="fieldrig-bench-"), trace=trace, name="bench")  # type: ignore[arg-type]
        device = modbus.Device("tcp://127.0.0.1:0", unit=1, holding={0: VALUES}, handler=handler, rig=rig)
        print(device.url.rpartition(":")[2], flush=True)
        sys.stdin.read()

    return serve


SERVERS: dict[str, Callable[[], None]] = {
    "fieldrig-full": fieldrig("full"),
    "fieldrig-counts": fieldrig("counts"),
    "fieldrig-handler-full": fieldrig("full", answer),
    "fieldrig-handler-counts": fieldrig("counts", answer),
}


if __name__ == "__main__":
    SERVERS[sys.argv[1]]()
