"""An emulated gateway: it polls meters over Modbus RTU and publishes each value once over MQTT, in order.

What cannot be sent waits until the uplink is back. `bugs.py` has gateways that do it wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fieldrig.model import ExceptionAnswer, Lost, Model, NoAnswer

PATIENCE = "300ms"
"""How long a meter may take to answer."""


class Sample(NamedTuple):
    """A value that was polled and is to be published."""

    meter: str
    voltage: float


class Gateway(Model):
    """Polls one meter after the other, in rounds; another task publishes."""

    boot = "300ms"
    period = "1s"

    def __init__(self, meters: Sequence[str]) -> None:
        self.meters = list(meters)
        self.samples = self.queue()

    async def run(self) -> None:
        self.spawn(self.publish_all())
        async for _ in self.every(self.period):
            for unit, meter in enumerate(self.meters, start=1):
                await self.poll(unit, meter)

    async def poll(self, unit: int, meter: str) -> None:
        sample = await self.ask(unit, meter)
        if sample is not None:
            self.samples.put(sample)

    async def ask(self, unit: int, meter: str) -> Sample | None:
        """What the meter says; None if it says nothing that could be published."""
        try:
            registers = await self.bus485.read_input(address=0, count=1, unit=unit, timeout=PATIENCE)
        except (NoAnswer, ExceptionAnswer) as failure:
            self.log("meter.failed", meter=meter, reason=str(failure))
            return None
        return Sample(meter, self.volts(registers[0]))

    def volts(self, register: int) -> float:
        return register / 10

    async def publish_all(self) -> None:
        while True:
            await self.deliver(await self.samples.get())

    async def deliver(self, sample: Sample) -> None:
        """Publishes a sample until it is acknowledged."""
        while True:
            await self.uplink.until_ready()
            try:
                return await self.publish(sample)
            except Lost:
                continue

    async def publish(self, sample: Sample) -> None:
        await self.uplink.publish(f"{{base}}/{sample.meter}/voltage", json={"v": sample.voltage}, qos=1)
