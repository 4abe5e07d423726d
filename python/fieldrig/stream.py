"""Raw byte conversations: for suites that must say exactly which bytes go out, and proprietary protocols.

::

    from fieldrig.stream import Stream

    with Stream("tcp://192.0.2.7:502") as wire:
        sent = wire.send(bytes.fromhex("0001 0000 0006 01 03 0000 0001"))
        answer = wire.receive(9, within="1s")
        print(answer.data.hex(" "), sent.until(answer), answer.closed)

The class is that of the native core; its signatures and docstrings stand in `fieldrig/_core/stream.pyi`.
"""

from __future__ import annotations

from fieldrig._core.stream import Event, Line, LineEvent, Match, Played, Playing, Received, Sent, Stream

__all__ = ["Event", "Line", "LineEvent", "Match", "Played", "Playing", "Received", "Sent", "Stream"]
