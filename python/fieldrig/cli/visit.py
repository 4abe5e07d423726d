"""A visit to the real devices of a bench: they are asked who they are, and nothing else is done to them.

An opened `Bench` switches power, runs `prepare` and arms the safe state; a visit does none of it. It opens a link when
an identity is read through it.
"""

from __future__ import annotations

from pathlib import Path

from .. import _core
from ..bench import Bench, BenchPlan
from ..dut import Dut
from ..errors import FieldrigError
from ..life.cycle import LifeCycle


class Visit(Bench):
    """A bench that is not brought up."""

    def __init__(self, plan: BenchPlan, rig: _core.Rig) -> None:
        # Nothing of what Bench.__init__ does: it would bring the bench up.
        self.plan = plan
        self.rig = rig
        self.folder = Path()
        self.links = {}
        self._devices = {}
        self._shared = {}
        self._started = rig.now()
        self._running = _core.bench.survey(rig, plan._native)
        self.life = LifeCycle(self)
        for native in plan._native.duts:
            if native.profile == "real" and not native.not_run:
                self._devices[native.name] = Dut(self, native)

    def address_of(self, link: str) -> str:
        """Where a link is that a switch is on, which a visit leaves alone: no device need be on it."""
        found = next(one for one in self.plan._native.links if one.name == link)
        return found.outside or next(iter(found.lock), "")

    def can_reach(self, device: str, name: str) -> bool:
        """Whether a value of the identity can be read now; not so over a broker that is there only in a run."""
        return all(self._is_there(device, link) for link in self._links_for(device, name))

    def identity(self, device: str, name: str) -> str:
        """Reads one value of the identity of a real device.

        Raises:
            BenchError: no answer, or one that does not match; a port cannot be opened.
        """
        dut = self._devices[device]
        for link in self._links_for(device, name):
            if link not in dut._links:
                dut.open_link(link)
        return self.life.identity(dut).read(name)

    def _links_for(self, device: str, name: str) -> list[str]:
        dut = self._devices[device]
        identity = self.life.identity(dut)
        return [link for link in dut.protocols() if name in identity.over(link)]

    def _is_there(self, device: str, link: str) -> bool:
        try:
            self._running.resolve(device, link)
        except FieldrigError:
            return False
        return True

    def close(self) -> None:
        """Closes every link; the rig goes on."""
        for dut in self._devices.values():
            dut.close()
        self.close_unused()
