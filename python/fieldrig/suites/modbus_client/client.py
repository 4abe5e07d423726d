"""The client under test, as the rows see it: calls through its driver, our script for each, what came of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fieldrig.suites.common.judge import Health
from fieldrig.suites.common.outcome import Absent, Exchange, Inapplicable, Missed, Undecided

from . import memory
from .capabilities import Capabilities
from .driver import Driver, DriverFailure, Hung, Outcome, Starter
from .frames import Request
from .station import Reply, Script, Station

UNIT = 1
MOST_FAILURES = 3
"""A driver that fails in so many plain reads in a row is not started again."""
LONGEST_WAIT = 15
"""A call may take so many time-outs: whoever cannot tell late answers from prompt ones waits until none can come."""


@dataclass(frozen=True)
class Timing:
    """How long things may take (seconds)."""

    timeout: float = 0.3
    """What the client is told to wait for an answer."""
    settle: float = 0.03
    """For bytes that we sent to reach a client that is not waiting for any."""
    hang: float = 4.0
    """How much longer than all its time-outs a call may take before it counts as stuck."""

    def patient(self) -> Timing:
        """For the second try of a row that missed something, perhaps because this machine is busy."""
        return replace(self, timeout=4 * self.timeout, settle=4 * self.settle, hang=2 * self.hang)


def right(request: Request, reply: Reply) -> None:
    """The script of a good server."""
    reply.send(memory.good(request))


def silent(request: Request, reply: Reply) -> None:
    """The script of a server that says nothing."""


def wrong(pdu: Callable[[bytes], bytes] | bytes, **fields: int) -> Script:
    """A script that answers with another PDU (a function of the right one), or in a wrong frame."""

    def script(request: Request, reply: Reply) -> None:
        reply.send(pdu if isinstance(pdu, bytes) else pdu(memory.good(request)), **fields)

    return script


class Client:
    """The client under test."""

    setbacks: tuple[type[Exception], ...] = (DriverFailure,)
    setback = "the driver failed, not the client"
    tries = 3

    def __init__(
        self,
        station: Station,
        start: Starter,
        timing: Timing,
        capabilities: Capabilities | None = None,
        stalls: Callable[[], int] = lambda: 0,
    ) -> None:
        self.station = station
        self.timing = timing
        self.capabilities = capabilities or Capabilities()
        self.lost = False
        self.name = "the client"
        """What the driver calls it."""
        self.facts: dict[str, Any] = {}
        """What the driver said when it opened the client."""
        self._start = start
        self._stalls = stalls
        self._driver: Driver | None = None
        self._opened = False
        self.failure = ""
        """What became of the latest plain read, if it did not give the right values."""
        self._broken = 0
        """How many plain reads in a row the driver has failed in."""
        self._timeout = timing.timeout
        self._requests_before = 0
        self.sent_before = 0
        """How many pieces we had sent when the latest call began."""
        self.begin()

    @property
    def plain(self) -> str:
        """What is said if a plain read does not work."""
        return f"a plain read did not give the right values: {self.failure or 'it was not tried'}"

    # -- one row ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begins a row."""
        self._stalls_before = self._stalls()
        self.exchanges: list[Exchange] = []
        self.notes: list[str] = []

    def end(self) -> None:
        """Has the client closed."""
        if self._opened:
            self._opened = False
            try:
                self._ask({"call": "close"}, self.timing.hang)
            except (Hung, DriverFailure):
                self._discard()
        broken = self.station.broken
        if broken is not None:
            raise broken

    def close(self) -> None:
        """Closes the client and ends the driver."""
        if self._opened:
            self._opened = False
            with contextlib.suppress(Hung, DriverFailure):
                self._ask({"call": "close"}, self.timing.hang)
        self._discard()

    def note(self, text: str) -> None:
        """Adds to the explanation of the row."""
        self.notes.append(text)

    @property
    def stalled(self) -> bool:
        """This machine stood still since the row began: what came late is nobody's fault."""
        return self._stalls() > self._stalls_before

    @property
    def over(self) -> str:
        """The name of the carrier."""
        return self.station.carrier

    def declares(self, name: str) -> bool:
        """Whether a capability is declared."""
        return self.capabilities.has(name)

    @contextlib.contextmanager
    def patient(self) -> Iterator[None]:
        """More time."""
        timing = self.timing
        self.timing = timing.patient()
        try:
            yield
        finally:
            self.timing = timing

    def health(self) -> Health:
        """Opens the client anew and reads: does it get the right values?"""
        if self._broken >= MOST_FAILURES:
            return "unreachable"
        log, self.exchanges = self.exchanges, []
        notes, self.notes = self.notes, []
        self.failure = ""
        try:
            self.open()
            outcome = self.read(right)
            self._broken = 0
            if outcome.values == memory.registers(3, 0, 2):
                return "answers"
            self.failure = outcome.says()
            return "silent"
        except (Absent, Inapplicable) as absent:
            self.failure = str(absent)
            return "silent"
        except DriverFailure as failure:
            self._broken += 1
            self.failure = str(failure)
            return "unreachable"
        finally:
            self.end()
            self.exchanges, self.notes = log, notes

    # -- calls -----------------------------------------------------------------------------------------------------

    def open(self, **settings: Any) -> Outcome:
        """Opens the client anew, towards a server that has forgotten everything.

        Args:
            settings: beside the usual ones. A driver that does not know one says `unsupported`.

        Raises:
            Inapplicable: the driver says that the client cannot be set so.
            DriverFailure: it cannot be opened.
        """
        outcome = self._opening(settings)
        if outcome.error == "unsupported" and settings:
            raise Inapplicable(f"the client cannot be opened with {', '.join(settings)}: {outcome.text}".rstrip(": "))
        if outcome.error is not None:
            raise DriverFailure(f"the driver could not open the client: {outcome.says()}")
        return outcome

    def attempt(self, script: Script = right, **settings: Any) -> Outcome:
        """Opens the client and reads, where it may have to refuse: that it could not be opened is an outcome, too.

        Raises:
            Inapplicable: the driver says that the client cannot be set so.
            DriverFailure: the driver died or talks nonsense.
        """
        self._requests_before = self.sent_before = 0
        outcome = self._opening(settings)
        if outcome.error == "unsupported":
            raise Inapplicable(f"the client cannot be opened so: {outcome.text}".rstrip(": "))
        if outcome.error is not None:
            self.exchanges.append(Exchange(0, "note", outcome.ended, text=f"open: {outcome.says()}"))
            return outcome
        return self.read(script)

    def _opening(self, settings: dict[str, Any]) -> Outcome:
        """What the driver says when it is to open the client; `settings` keeps what only it understands."""
        if self._opened:
            self.end()
        self.station.renew(self.exchanges, settings.pop("line", None), settings.pop("stance", None))
        request = {
            "call": "open",
            "url": self.station.url,
            "unit": UNIT,
            "timeout": self.timing.timeout,
            "retries": 0,
            **self.station.settings(),
            **settings,
        }
        try:
            outcome = self._ask(request, self.timing.hang + 5.0)
        except Hung as hung:
            self._discard()
            raise DriverFailure(str(hung)) from None
        finally:
            self.station.look()
        if outcome.error is None:
            self._opened = True
            self._timeout = float(request["timeout"])
            self.facts = dict(outcome.facts or {})
            self.name = str(self.facts.get("name") or self.name)
        return outcome

    def call(self, call: str, script: Script | None = right, **arguments: Any) -> Outcome:
        """Has a call made while our server follows a script (`None`: it goes on with the one it has).

        Raises:
            Absent: the call did not end.
            DriverFailure: the driver died or talks nonsense.
        """
        if not self._opened:
            self.open()
        if script is not None:
            self.station.play(script)
        self._requests_before = len(self.station.requests)
        self.sent_before = len(self.station.sent)
        times = arguments.pop("repeats", 1)
        patience = self.timing.hang + (LONGEST_WAIT + self.retries) * self._timeout + times * 0.01
        try:
            outcome = self._ask({"call": call, "unit": UNIT, **arguments}, patience)
        except Hung as hung:
            self.station.look()
            sent = bool(self.requests)
            self._discard()
            if not sent:
                raise DriverFailure(f"{hung}, and nothing was sent: it, or the client, is stuck") from None
            raise self.absent(str(hung)) from None
        finally:
            self.station.look()
            if self.station.broken is not None:
                raise self.station.broken
        shown = ", ".join(f"{name}={_brief(value)}" for name, value in arguments.items())
        self.exchanges.append(Exchange(0, "note", outcome.ended, text=f"{call}({shown}): {outcome.says()}"))
        return outcome

    def read(self, script: Script | None = right, address: int = 0, count: int = 2, **more: Any) -> Outcome:
        """A read of holding registers."""
        return self.call("read_holding", script, address=address, count=count, **more)

    def together(self, calls: list[dict[str, Any]], script: Script) -> tuple[Outcome, ...]:
        """Calls at the same time. Raises `Inapplicable` if the client has no way to make them."""
        outcome = self.call("together", script, calls=[{"unit": UNIT, **call} for call in calls])
        if outcome.error is not None:
            raise Inapplicable(f"the client makes one call at a time ({outcome.says()})")
        if len(outcome.outcomes) != len(calls):
            raise DriverFailure(f"{len(calls)} calls at the same time had {len(outcome.outcomes)} outcomes")
        return outcome.outcomes

    def wait(self, seconds: float) -> None:
        """Lets time pass: for what must not come."""
        time.sleep(seconds)

    @property
    def requests(self) -> list[Request]:
        """The requests since the latest call began."""
        return self.station.requests[self._requests_before :]

    @property
    def disturbed(self) -> bool:
        """This process stood still for so long, since the client was opened, that what came late is nobody's fault."""
        return self.station.lag > self._timeout / 3

    def absent(self, text: str) -> Absent | Undecided:
        """What to raise when something did not come: held against the client only if this machine kept pace."""
        return Undecided(f"{text} (this machine was busy)") if self.disturbed else Absent(text)

    @property
    def retries(self) -> int:
        """How often the client asks again by itself; 0 was asked for."""
        return int(self.facts.get("retries", 0))

    # -- what rows demand ------------------------------------------------------------------------------------------

    def must_give(self, outcome: Outcome, values: Sequence[int], what: str) -> None:
        """The call got these values. Raises `Missed` for others, `Absent` for none, `Inapplicable`."""
        self.must_be_possible(outcome, what)
        if outcome.error is not None or outcome.values is None:
            self._must_have_been_told(outcome, what)
            raise self.absent(f"{what}: the call ended with {outcome.says()}")
        if tuple(outcome.values) != tuple(values):
            expected = Outcome(0, 0, values=tuple(values)).says()
            padded = _padded(outcome.values, values)
            raise Missed(f"{what}: the call gave {outcome.says()}, the device has {expected}{padded}")

    def must_read(self, what: str, address: int = 0, count: int = 2, script: Script = right) -> None:
        """A read of holding registers gets what the device has there."""
        self.must_give(self.read(script, address, count), memory.registers(3, address, count), what)

    def must_reject(self, outcome: Outcome, what: str) -> None:
        """The call did not take the answer. Raises `Missed`, `Inapplicable`, `Undecided`."""
        self.must_be_possible(outcome, what)
        if outcome.error is None:
            raise Missed(f"{what} was taken: the call gave {outcome.says()}")
        self._must_have_been_told(outcome, what)
        if outcome.error == "timeout" and self.disturbed:
            raise Undecided(f"{what}: {outcome.says()} (this machine was busy)")
        self.note(f"{what}: {outcome.error}")

    def must_be_possible(self, outcome: Outcome, what: str) -> None:
        """Raises `Inapplicable` if the client has no such call."""
        if outcome.error == "unsupported":
            raise Inapplicable(f"{what}: the client has no such call {f'({outcome.text})' if outcome.text else ''}")

    def _must_have_been_told(self, outcome: Outcome, what: str) -> None:
        """Whoever waited in vain proves something only if our answer was there in time."""
        requests = self.requests
        if not requests:
            raise self.absent(f"{what}: the client sent nothing: {outcome.says()}")
        first = next((sent.at for sent in self.station.sent[self.sent_before :]), None)
        if first is not None and first - requests[0].at > 0.4 * self.timing.timeout + 0.06:
            raise Undecided(f"{what}: our answer was late (this machine was busy)")

    # -- the driver ------------------------------------------------------------------------------------------------

    def _ask(self, request: dict[str, Any], within: float) -> Outcome:
        if self._driver is None:
            self._driver = self._start()
        try:
            return self._driver.ask(request, within)
        except DriverFailure:
            self._discard()
            raise

    def _discard(self) -> None:
        driver, self._driver = self._driver, None
        self._opened = False
        if driver is not None:
            self.station.hang_up()
            driver.close()


def _padded(given: Sequence[int], values: Sequence[int]) -> str:
    """Told of bits that are right, with those behind them that fill the last byte of the answer (AP 6.1)."""
    more = given[len(values) :]
    filled = len(given) == (len(values) + 7) // 8 * 8 and not any(more) and set(given) <= {0, 1}
    if not (more and filled and tuple(given[: len(values)]) == tuple(values)):
        return ""
    return (
        f": the {len(more)} more are the zeros that fill the last byte; "
        "if the library documents them, the driver is to cut them off"
    )


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
