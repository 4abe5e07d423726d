"""Emulated devices whose behaviour is written in Python.

::

    from fieldrig.model import Model, NoAnswer, Point

    class Logger(Model):
        points = {"polls": Point("int"), "interval": Point("float", unit="s", initial=1.0, access="read-write")}

        def __init__(self, unit: int = 1) -> None:               # `settings = { unit = 2 }` of the bench file
            self.unit = unit

        async def run(self) -> None:
            while True:
                try:
                    (raw,) = await self.bus485.read_input(0, unit=self.unit, timeout="300ms")
                except NoAnswer:
                    raw = None
                await self.uplink.publish("{base}/voltage", json={"v": raw and raw / 10}, qos=1)
                self.set("polls", self.get("polls") + 1)
                await self.sleep("1s")

A bench file names it as ``model = "models/logger.py:Logger"``. The coroutines run on the clock of the bench; on virtual
time the same bench takes the same steps each time. `docs/models.md` tells the whole story.
"""

from __future__ import annotations

from .base import Model, Point
from .links import (
    ConsoleLink,
    ExceptionAnswer,
    Link,
    Lost,
    Malformed,
    ModbusLink,
    MqttLink,
    NoAnswer,
    Refused,
    ServerLink,
)
from .load import Loaded, check, load
from .machine import Machine, Turn
from .tasks import Cancelled, Event, Future, ModelError, NeverWaits, Queue, Task
from .watchdog import NeverReturns

__all__ = [
    "Cancelled",
    "ConsoleLink",
    "Event",
    "ExceptionAnswer",
    "Future",
    "Link",
    "Loaded",
    "Lost",
    "Machine",
    "Malformed",
    "ModbusLink",
    "Model",
    "ModelError",
    "MqttLink",
    "NeverReturns",
    "NeverWaits",
    "NoAnswer",
    "Point",
    "Queue",
    "Refused",
    "ServerLink",
    "Task",
    "Turn",
    "check",
    "load",
]
