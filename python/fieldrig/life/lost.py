"""Links that were lost: one recovery, then the tests that need them end at once.

Rules of this file:

- A link is lost when an error says so (its port went away, cannot be opened, or its connection ended). Silence alone
  is no loss: the link counts as lost only if the identity that is read through it cannot be read either.
- A lost link of a real device is recovered once in a run: the `recover` of the bench file, then our end is opened anew,
  then the identity is read through it. If that fails, or the link is lost again, it is down.
- An adapter with a USB name is waited for up to 5 s: one that was reset, or plugged in again, comes back by itself.
- A link of a device that the test has switched off is not lost: the device is switched on, and the link opened anew.
- A link of an emulated device is opened anew whenever it was lost: nothing of it can be broken for good.
- What one wire carries is lost together: links with the same address share one fate.
- A link that the bench itself holds open, as to listen or to answer on it, cannot be recovered: it is down at once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import (
    BenchError,
    ConnectionLost,
    EndpointStuck,
    FieldrigError,
    LinkDown,
    NoAnswer,
    PortError,
    PortLost,
    Unanswered,
)

if TYPE_CHECKING:
    from ..bench import Bench
    from ..dut import Dut

LOST = (PortLost, PortError, ConnectionLost, EndpointStuck)
SILENT = (NoAnswer, Unanswered)
NOT_PLUGGED = "no such adapter is plugged in"
PLUGGED_WITHIN = 5.0
"""Seconds."""


@dataclass(frozen=True)
class Down:
    """A link that is not used any more in this run."""

    link: str
    since: str
    reason: str

    def error(self) -> LinkDown:
        """What a test that needs it ends with."""
        return LinkDown(f"down since {self.since}: {self.link}: {self.reason}", since=self.since, link=self.link)


class Losses:
    """What was lost in a run, and what is down."""

    def __init__(self, bench: Bench, recover: Callable[[Dut], None]) -> None:
        self._bench = bench
        self._recover = recover
        self._recovered: set[str] = set()

    def of_device(self, dut: Dut) -> Down | None:
        """Why a device is down as a whole (each of its links is), or None."""
        links = [dut.down_links.get(link) for link in dut.protocols()]
        return links[0] if all(links) and links else None

    def take_down(self, dut: Dut, since: str, reason: str) -> None:
        """A device as a whole cannot be used any more."""
        self._note(Down(dut.name, since, reason), [(dut, link) for link in dut.protocols()])

    def after_error(self, error: BaseException, test: str) -> None:
        """Looks whether a test ended because a link was lost; then recovers it, or takes it down."""
        for dut, link in self._named(error):
            if link not in dut.down_links and self._is_lost(error, dut, link):
                self._deal_with(dut, link, test, _first_line(error).removeprefix(f"{dut.name}.{link}: "))
            return
        for name in self._bench.links:
            if isinstance(error, LOST) and re.match(rf"{re.escape(name)}\b", error.message):
                return self._give_up(name, test, _first_line(error).removeprefix(f"{name}: "))

    def _give_up(self, link: str, test: str, reason: str) -> None:
        """What the bench itself holds open on a link cannot be opened anew while the bench is open."""
        on = [dut for dut in self._bench.devices() if dut.judged and link in dut.on_links()]
        if not all(link in dut.down_links for dut in on):
            self._note(Down(link, test, reason), [(dut, link) for dut in on])

    def _deal_with(self, dut: Dut, link: str, test: str, reason: str) -> None:
        name = f"{dut.name}.{link}"
        address = self._address(dut, link)
        together = [(other, one) for other, one in self._links() if self._address(other, one) == address]
        real = dut.emulated is None
        self._bench.rig.log("link.lost", link=name, test=test, reason=reason)
        off = dut.power.left_off()
        if real and not off:
            if address in self._recovered:
                return self._note(Down(name, test, f"{reason} (it was recovered once before)"), together)
            self._recovered.add(address)
        try:
            for other, one in together:
                other.close_link(one)
            if real or off:
                self._recover(dut)
            for other, one in together:
                self._open_again(other, one)
            for value in dut.identity.over(link) if real else ():
                dut.identity.read(value)
        except FieldrigError as problem:
            return self._note(Down(name, test, f"{reason}; then: {_first_line(problem)}"), together)
        self._bench.rig.log("link.recovered", link=name, test=test)

    def _open_again(self, dut: Dut, link: str) -> None:
        """Opens a link; an adapter that was reset, or plugged in again, needs a moment until it is there."""
        until = time.monotonic() + PLUGGED_WITHIN
        while True:
            try:
                return dut.open_link(link)
            except PortError as error:
                if NOT_PLUGGED not in error.message or time.monotonic() >= until:
                    raise
                self._bench.rig.sleep("50ms")

    def _is_lost(self, error: BaseException, dut: Dut, link: str) -> bool:
        if isinstance(error, LinkDown):
            return False
        if isinstance(error, LOST):
            return True
        if not isinstance(error, SILENT) or dut.emulated is not None:
            return False
        try:
            # Without an identity there is nothing to ask, and silence proves nothing.
            for name in dut.identity.over(link):
                dut.identity.read(name)
        except BenchError:
            return True
        return False

    def _note(self, down: Down, links: list[tuple[Dut, str]]) -> None:
        for dut, link in links:
            dut.down_links[link] = down
            dut.close_link(link)
        self._bench.rig.log("down", link=down.link, since=down.since, reason=down.reason)

    def _links(self) -> Iterator[tuple[Dut, str]]:
        for dut in self._bench.devices():
            for link in dut.protocols():
                yield dut, link

    def _named(self, error: BaseException) -> Iterator[tuple[Dut, str]]:
        """The links that an error names, as `meter.console`; the first one first."""
        text = error.message if isinstance(error, FieldrigError) else ""
        found = []
        for dut, link in self._links():
            place = re.search(rf"(?<![\w.]){re.escape(dut.name)}\.{re.escape(link)}(?!\w)", text)
            if place is not None:
                found.append((place.start(), dut, link))
        for _, dut, link in sorted(found, key=lambda one: one[0]):
            yield dut, link

    def _address(self, dut: Dut, link: str) -> str:
        return self._bench._running.resolve(dut.name, link).url


def _first_line(error: BaseException) -> str:
    text = error.message if isinstance(error, FieldrigError) else str(error)
    return (text.splitlines() or [type(error).__name__])[0]
