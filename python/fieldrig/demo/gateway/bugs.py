"""Gateways with one bug each: what the shipped suite must find. ``fieldrig demo gateway --bug NAME``.

`suites/gateway/bugs.toml` says for each which requirements it violates; the gate runs the suite on each of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import ClassVar

from fieldrig.demo.gateway.gateway import PATIENCE, Gateway, Sample
from fieldrig.model import ExceptionAnswer, Lost, NoAnswer


class DropsInOutage(Gateway):
    """What is polled while the uplink is down is lost."""

    async def deliver(self, sample: Sample) -> None:
        if self.uplink.ready:
            await super().deliver(sample)


class ReordersAfterOutage(Gateway):
    """What waited for the uplink is sent newest first."""

    async def publish_all(self) -> None:
        while True:
            waiting = [await self.samples.get()]
            await self.uplink.until_ready()
            while len(self.samples):
                waiting.append(await self.samples.get())
            for sample in reversed(waiting):
                await self.deliver(sample)


class Duplicates(Gateway):
    """Every fifth value is published twice."""

    published = 0

    async def publish(self, sample: Sample) -> None:
        await super().publish(sample)
        self.published += 1
        if self.published % 5 == 0:
            await super().publish(sample)


class ResendsAfterOutage(Gateway):
    """After an outage the last acknowledged values are sent again."""

    def __init__(self, meters: Sequence[str]) -> None:
        super().__init__(meters)
        self.sent: list[Sample] = []

    async def deliver(self, sample: Sample) -> None:
        if not self.uplink.ready:
            await self.uplink.until_ready()
            for earlier in self.sent[-6:]:
                await super().deliver(earlier)
        await super().deliver(sample)
        self.sent.append(sample)


class GivesUp(Gateway):
    """A value whose acknowledgement is lost with the connection is not sent again."""

    async def deliver(self, sample: Sample) -> None:
        await self.uplink.until_ready()
        with contextlib.suppress(Lost):
            await self.publish(sample)


class StaleInOutage(Gateway):
    """During an outage what was known before it is kept in the place of what is polled."""

    def __init__(self, meters: Sequence[str]) -> None:
        super().__init__(meters)
        self.known: dict[str, Sample] = {}

    async def ask(self, unit: int, meter: str) -> Sample | None:
        sample = await super().ask(unit, meter)
        if sample is None or self.uplink.ready:
            if sample is not None:
                self.known[meter] = sample
            return sample
        return self.known.get(meter, sample)


class StopsPollingInOutage(Gateway):
    """While the uplink is down nothing is polled."""

    async def poll(self, unit: int, meter: str) -> None:
        await self.uplink.until_ready()
        await super().poll(unit, meter)


class SlowForwarding(Gateway):
    """Values are collected and published every five seconds."""

    async def publish_all(self) -> None:
        while True:
            await self.sleep("5s")
            while len(self.samples):
                await self.deliver(await self.samples.get())


class WholeVolts(Gateway):
    """The tenths are lost."""

    def volts(self, register: int) -> float:
        return float(register // 10)


class Signed(Gateway):
    """Registers above 32767 are taken for negative numbers."""

    def volts(self, register: int) -> float:
        return (register - 0x10000 if register > 0x7FFF else register) / 10


class Starves(Gateway):
    """A meter that does not answer is asked again and again before the next one has its turn."""

    async def ask(self, unit: int, meter: str) -> Sample | None:
        for _ in range(40):
            sample = await super().ask(unit, meter)
            if sample is not None:
                return sample
        return None


class PublishesDeadMeters(Gateway):
    """The last value of a meter that does not answer is published again and again."""

    def __init__(self, meters: Sequence[str]) -> None:
        super().__init__(meters)
        self.last: dict[str, Sample] = {}

    async def ask(self, unit: int, meter: str) -> Sample | None:
        sample = await super().ask(unit, meter) or self.last.get(meter)
        if sample is not None:
            self.last[meter] = sample
        return sample


class TakesExceptionsForZero(Gateway):
    """A meter that answers with an exception is published as 0 V."""

    async def ask(self, unit: int, meter: str) -> Sample | None:
        try:
            registers = await self.bus485.read_input(address=0, count=1, unit=unit, timeout=PATIENCE)
        except ExceptionAnswer:
            return Sample(meter, 0.0)
        except NoAnswer:
            return None
        return Sample(meter, self.volts(registers[0]))


class ForgetsMeters(Gateway):
    """A meter that did not answer three times is never asked again."""

    def __init__(self, meters: Sequence[str]) -> None:
        super().__init__(meters)
        self.failures = dict.fromkeys(meters, 0)

    async def ask(self, unit: int, meter: str) -> Sample | None:
        if self.failures[meter] >= 3:
            return None
        sample = await super().ask(unit, meter)
        self.failures[meter] = 0 if sample is not None else self.failures[meter] + 1
        return sample


class MixesMeters(Gateway):
    """When a meter fails, those behind it in the round are published under the wrong names."""

    names: Iterator[str] = iter(())

    async def ask(self, unit: int, meter: str) -> Sample | None:
        if unit == 1:
            self.names = iter(self.meters)
        sample = await super().ask(unit, meter)
        return None if sample is None else Sample(next(self.names), sample.voltage)


class ReplaysAfterRestart(Gateway):
    """After a restart the values from before are published before new ones are polled."""

    flash: ClassVar[dict[str, Sample]] = {}

    async def run(self) -> None:
        for sample in list(self.flash.values()):
            self.samples.put(sample)
        await super().run()

    async def publish(self, sample: Sample) -> None:
        self.flash[sample.meter] = sample
        await super().publish(sample)


class Writes(Gateway):
    """Writes to each meter before it reads."""

    async def ask(self, unit: int, meter: str) -> Sample | None:
        with contextlib.suppress(NoAnswer, ExceptionAnswer):
            await self.bus485.write_register(address=0, value=0, unit=unit, timeout=PATIENCE)
        return await super().ask(unit, meter)


class SlowBoot(Gateway):
    """It takes a quarter of a minute until it is back."""

    boot = "15s"


class PollsRarely(Gateway):
    """It polls every five seconds only."""

    period = "5s"


class WrongTopic(Gateway):
    """The first meter's values appear under the name of the second, too."""

    async def publish(self, sample: Sample) -> None:
        await super().publish(sample)
        if sample.meter == self.meters[0]:
            await super().publish(Sample(self.meters[1], sample.voltage))
