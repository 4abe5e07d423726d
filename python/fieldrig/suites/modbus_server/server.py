"""The server under test, as the rows see it: connections to it, what is known about it, and what was said so far."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from fieldrig.suites.common.judge import Health as Health

from .capabilities import Capabilities
from .carriers import CARRIERS, Carrier
from .frames import Adu, is_normal, read_pdu
from .outcome import Absent, Busy, Exchange, Missed, Undecided
from .silences import Silences
from .wire import AT_ONCE, Opener, Wire, WireError

if TYPE_CHECKING:
    from fieldrig import Stamp

    from .secure.link import Target


@dataclass(frozen=True)
class Clock:
    """Whose time the suite keeps: that of the machine, or the virtual one of a rig."""

    now: Callable[[], float]
    """Seconds since anything."""
    sleep: Callable[[float], None]


INSTANT = 1e-9
"""The shortest time that can be waited (seconds)."""
READS_THAT_PROVE = 3
"""So many plain reads may it take to prove that a line and the server on it work."""
LONGEST_FRAME = 513
"""Characters of the longest frame, that of ASCII."""

BUSY = (5, 6)
"""Exceptions by which a server asks for patience (AP 7)."""
BUSY_WAITS = (0.1, 0.2, 0.4, 0.8, 1.6)
"""How long a server that is busy is left alone before it is asked again, each time (seconds)."""

REAL = Clock(time.monotonic, time.sleep)


@dataclass(frozen=True)
class Timing:
    """How long the suite waits (seconds)."""

    answer: float = 1.5
    """For something that must come; what comes later counts as missing."""
    silence: float = 0.3
    """For something that must not come."""
    settle: float = 0.1
    """For the rest of an answer whose length field and PDU disagree."""

    def patient(self) -> Timing:
        """For the second try of a row that missed an answer."""
        return replace(self, answer=2 * self.answer)

    def on_line(self, silences: Silences) -> Timing:
        """With the time that the longest request and the longest answer take on a line, and its silences."""
        frames = 2 * LONGEST_FRAME * silences.character
        return replace(self, answer=self.answer + frames, settle=self.settle + 2 * silences.between)


@dataclass(frozen=True)
class Facts:
    """What the probe found out, by reading only."""

    function: int
    """A function (03 if there is a choice) ..."""
    address: int
    """... that reads here ..."""
    run: int
    """... this many items, at least: 1, 2 or 3."""
    parallel: bool
    """A second connection is served while another is open."""
    latency: float
    """The slowest answer of the probe (seconds)."""
    greeting: bytes = b""
    """What the server says to everyone who connects. It must not (MBAP-21); the other rows step over it."""


class Talk:
    """One connection: requests out, answers in; everything is kept for the report."""

    def __init__(self, wire: Wire, number: int, log: list[Exchange], server: Server) -> None:
        self._wire = wire
        self._carrier = server.carrier
        self._clock = server.clock
        self._log = log
        self._server = server
        self._buffer = b""
        self._answers: list[Adu] = []
        self._open = True
        self.number = number
        self.cut_off = False
        """The server ended the connection before everything was sent."""
        self.sent_at = 0.0
        self.arrived_at = 0.0
        self.reads = 0
        self.stamps: list[Stamp] = []
        """When each piece of the latest answer arrived."""

    @property
    def late(self) -> float:
        """How much longer than asked the pauses of what was sent became, together (seconds)."""
        return float(getattr(self._wire, "late", 0.0))

    @property
    def ended(self) -> str | None:
        """How the server ended the connection, or `None`."""
        return self._wire.ended or ("reset" if self.cut_off else None)

    def send(self, *parts: bytes, gap: float = 0.0, note: str = "", at_once: bool = False) -> None:
        """Sends pieces `gap` seconds apart. That the server has closed meanwhile is kept in `ended`, no error.

        On a line it waits until the silence between frames is over, unless it is to be sent `at_once`.
        """
        self.stamps = []
        first = AT_ONCE if at_once else 0.0
        at = self._wire.send([(gap if index else first, part) for index, part in enumerate(parts)])
        self.cut_off = self.cut_off or at is None
        self.sent_at = at if at is not None else self.sent_at
        pieces = f"in {len(parts)} pieces, {gap * 1000:.0f} ms apart" if len(parts) > 1 and gap else ""
        self._note("sent", b"".join(parts), "; ".join(filter(None, (note, pieces))))

    def answers(self, count: int = 1, within: float | None = None) -> list[Adu]:
        """Waits for that many answers; gives those that came, oldest first.

        They are fewer if the server ended the connection, or if nothing came for the time an answer may take.
        """
        patience_for_each = self._server.timing.answer if within is None else within
        deadline = self._clock.now() + patience_for_each
        while len(self._answers) < count:
            cut = len(self._answers)
            undecided = self._carrier.disputed(self._buffer)
            left = deadline - self._clock.now()
            late = left < INSTANT
            before = len(self._buffer)
            patience = min(left, self._server.timing.settle) if undecided else left
            self._take(lambda new: self._enough(new, count), max(patience, 0.0))
            quiet = len(self._buffer) == before
            over = quiet and undecided and self._carrier.plausible(self._buffer)
            self._cut(complete=over or self.ended is not None or late)
            if len(self._answers) > cut:
                deadline = self._clock.now() + patience_for_each
            elif self.ended is not None or late:
                break
        given, self._answers = self._answers[:count], self._answers[count:]
        return given

    def answer(self, within: float | None = None) -> Adu | None:
        """Waits for one answer; `None` if none came."""
        return next(iter(self.answers(1, within)), None)

    def anything(self, within: float | None = None) -> bytes:
        """Gives whatever comes before silence lasts `within` (the silence of the timing if not given)."""
        window = self._server.timing.silence if within is None else within
        self._take(lambda new: False, window)
        given = b"".join(answer.raw for answer in self._answers) + self._buffer
        self._answers, self._buffer = [], b""
        return given

    def begins(self) -> bool:
        """Waits for the first byte of an answer; what comes is kept."""
        if not self._buffer:
            self._take(lambda new: True, self._server.timing.answer)
        return bool(self._buffer)

    def skip(self, count: int) -> None:
        """Waits for that many bytes and forgets them: what a server says to everyone who connects."""
        self._take(lambda new: len(self._buffer + new) >= count, self._server.timing.answer)
        self._buffer = self._buffer[count:]

    def ends(self, within: float | None = None) -> bool:
        """Waits for the server to end the connection; bytes that come meanwhile are kept."""
        if self.ended is None:
            self._take(lambda new: False, self._server.timing.answer if within is None else within)
        return self.ended is not None

    def close(self, how: Literal["fin", "rst", "half"] = "fin") -> None:
        """Ends it from our side."""
        if how == "fin" and self._open and self._server.one_at_a_time:
            self._leave()
        self._open = self._open and how == "half"
        self._wire.close(how)
        if how != "fin":
            self._note("note", text={"rst": "we reset the connection", "half": "we sent FIN"}[how])

    def _leave(self) -> None:
        """Gives the server time to notice that we go: it may turn the next connection away until it has."""
        if self.ended is None:
            self._wire.close("half")
            self._wire.receive(lambda new: False, self._server.timing.settle)

    def _take(self, enough: Callable[[bytes], bool], within: float) -> None:
        before = self._wire.ended
        arrival = self._wire.receive(enough, within)
        if arrival is not None and arrival.data:
            self._buffer += arrival.data
            self.arrived_at = arrival.last
            self.reads += arrival.reads
            self.stamps += [stamp for _, stamp in arrival.stamps]
            self._log.append(Exchange(self.number, "received", arrival.last, arrival.data))
        if self._wire.ended is not None and before is None:
            how = {"finished": "the server closed the connection", "reset": "the server reset the connection"}
            self._note("note", text=how[self._wire.ended])

    def _enough(self, new: bytes, count: int) -> bool:
        """Enough came for `count` answers, or something whose end only time can tell."""
        data = self._buffer + new
        cut = self._carrier.split(data, complete=False)
        rest = data[sum(len(answer.raw) for answer in cut) :]
        return len(self._answers) + len(cut) >= count or (
            self._carrier.disputed(rest) and not self._carrier.disputed(self._buffer)
        )

    def _cut(self, *, complete: bool) -> None:
        cut = self._carrier.split(self._buffer, complete=complete)
        self._answers += cut
        self._buffer = self._buffer[sum(len(answer.raw) for answer in cut) :]

    def _note(self, what: Literal["sent", "note"], data: bytes = b"", text: str = "") -> None:
        at = self.sent_at if what == "sent" else self.arrived_at
        self._log.append(Exchange(self.number, what, at, data, text))


class Server:
    """The server under test."""

    plain = "a plain read was not answered"
    setbacks = (WireError,)
    setback = "a connection could not be made"
    tries = 1

    def __init__(
        self,
        opener: Opener,
        unit: int,
        capabilities: Capabilities,
        timing: Timing,
        stalls: Callable[[], int] = lambda: 0,
        *,
        carrier: Carrier = CARRIERS["tcp"],
        clock: Clock = REAL,
        silences: Silences | None = None,
        resolution: float = 0.0,
        load: float = 1.0,
        target: Target | None = None,
    ) -> None:
        self._open = opener
        self._stalls = stalls
        self.carrier = carrier
        self.clock = clock
        self.load = load
        """How often rows about robustness do what they do often, relative to a short run."""
        self.silences = silences
        """Those of the line, if it has a speed."""
        self.resolution = resolution
        """How far apart two instants of the port must be to be told apart (seconds)."""
        self.target = target
        """The server as TLS handshakes see it, if it can be made ones."""
        self.unit = unit
        self.capabilities = capabilities
        self.timing = timing
        self.facts = Facts(3, 0, 1, parallel=True, latency=0.0)
        self.lost = False
        """The server did not answer any more before the latest row."""
        self.permission = capabilities.permission
        """What may be written, and done otherwise; `writes.py` keeps to it."""
        self.written = 0
        """How many requests that write were sent."""
        self.kept: dict[tuple[str, int], int] = {}
        """What stood, before the row, at the addresses that it writes."""
        self.not_restored: dict[tuple[str, int], tuple[int, str]] = {}
        """What could not be restored: the values that stood there, and why."""
        self.owed: dict[tuple[str, int], int] = {}
        """Those of the kept values that are to be restored once the server can be reached again."""
        self.places: dict[str, int] = {}
        """An address of each table that was found readable."""
        self.longest: dict[str, int] = {}
        """How many items of a table it reads at once, where that was found to be fewer than the standard has it."""
        self.asked: dict[int, str | None] = {}
        """Functions that were asked for: how it was found out that they are missing, `None` if they are there."""
        self.begin()
        self._transaction = 0x1000

    # -- one row ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begins a row: forgets the conversations of the one before."""
        self._stalls_before = self._stalls()
        self.exchanges: list[Exchange] = []
        self.notes: list[str] = []
        self.busy = 0
        """How often a request of the row was sent again because the server was busy."""
        self._talks: list[Talk] = []

    def end(self) -> None:
        """Closes every connection of the row."""
        for talk in self._talks:
            talk.close()
        self._talks = []

    @property
    def unrestored(self) -> list[str]:
        """What could not be restored, in words, one line for each run of addresses."""
        from .writes import unrestored

        return unrestored(self.not_restored)

    @property
    def over(self) -> str:
        """The name of the carrier."""
        return self.carrier.name

    @property
    def one_at_a_time(self) -> bool:
        """The server has room for one connection, and this is one that begins and ends."""
        return not self.facts.parallel and not self.carrier.line and self.carrier.name != "udp"

    def declares(self, name: str) -> bool:
        """Whether a capability is declared."""
        return self.capabilities.has(name)

    @contextlib.contextmanager
    def patient(self) -> Iterator[None]:
        """Twice the time, for the second try of a row that missed an answer."""
        timing = self.timing
        if self.carrier.line:  # requests have no ids: what comes late must not be taken for an answer to the second try
            Talk(self._opened(), 0, [], self).anything(timing.answer)
        self.timing = timing.patient()
        try:
            yield
        finally:
            self.timing = timing

    def note(self, text: str) -> None:
        """Adds to the explanation of the row."""
        self.notes.append(text)

    @property
    def stalled(self) -> bool:
        """This machine stood still since the row began: nothing that came late can be held against the server."""
        return self._stalls() > self._stalls_before

    # -- connections and requests ----------------------------------------------------------------------------------

    def connect(self, source: str | None = None, *, greeted: bool = True, patient: bool = True) -> Talk:
        """Opens a connection and steps over the server's greeting, if it has one. Raises `WireError`.

        A server with room for one connection may need a while to notice that the one before was closed: being refused
        counts only after the time of an answer, unless `patient` is false.
        """
        wire = self._opened() if patient and source is None else self._open(source)
        talk = Talk(wire, len(self._talks) + 1, self.exchanges, self)
        self._talks.append(talk)
        if greeted and self.facts.greeting:
            talk.skip(len(self.facts.greeting))
        return talk

    def _opened(self) -> Wire:
        deadline = self.clock.now() + self.timing.answer
        while True:
            try:
                return self._open(None)
            except WireError:
                if self.facts.parallel or self.clock.now() > deadline:
                    raise
                self.clock.sleep(self.timing.settle)

    def next_transaction(self) -> int:
        self._transaction = 0x1000 + (self._transaction + 1) % 0x1000
        return self._transaction

    def read(self, quantity: int = 1, address: int | None = None) -> bytes:
        """The PDU of a read with the function that is known to work, at the address that is known to work."""
        return read_pdu(self.facts.function, self.facts.address if address is None else address, quantity)

    def request(
        self,
        pdu: bytes,
        *,
        transaction: int | None = None,
        unit: int | None = None,
        protocol: int = 0,
        length: int | None = None,
    ) -> bytes:
        """A request with a transaction id of its own, to the unit under test."""
        return self.carrier.request(
            pdu,
            transaction=self.next_transaction() if transaction is None else transaction,
            unit=self.unit if unit is None else unit,
            protocol=protocol,
            length=length,
        )

    # -- what rows ask ---------------------------------------------------------------------------------------------

    def ask(self, talk: Talk, request: bytes, what: str = "the request") -> Adu:
        """Sends a request and gives its answer; a server that says that it is busy is asked again later (AP 7).

        Raises `Absent` if none comes, `Undecided` if it stays busy.
        """
        return self.ask_again(talk, request, what)[1]

    def ask_again(self, talk: Talk, request: bytes, what: str) -> tuple[Talk, Adu]:
        """As `ask`; a server that said it was busy may have ended the connection since. Gives the connection, too."""
        busy = False
        for wait in (*BUSY_WAITS, None):
            talk.send(request)
            try:
                answer = self._came(talk, what)
            except Absent:
                if not (busy and talk.ended):
                    raise
                talk = self.connect()
                talk.send(request)
                answer = self._came(talk, what)
            busy = answer.exception in BUSY
            if not busy:
                break
            if wait is None:
                raise Busy(f"the server says it is busy ({answer.says()}); {what} cannot be judged")
            self.busy += 1
            self.clock.sleep(wait)
        return talk, answer

    def ask_on(self, talk: Talk, request: bytes, what: str = "the request") -> tuple[Talk, Adu]:
        """As `ask`, for a row that is not about connections: if the server has ended this one, which it may, the
        request is sent once more on another. Gives the connection to go on with, too."""
        try:
            return self.ask_again(talk, request, what)
        except Absent:
            if not talk.ended:
                raise
        talk = self.connect()
        return self.ask_again(talk, request, what)

    def expect(self, talk: Talk, what: str) -> Adu:
        """Gives the next answer on a connection. Raises `Absent` if none comes, `Undecided` if the server is busy."""
        answer = self._came(talk, what)
        if answer.exception in BUSY:
            raise Busy(f"the server says it is busy ({answer.says()}); {what} cannot be judged")
        return answer

    def _came(self, talk: Talk, what: str) -> Adu:
        answer = talk.answer()
        if answer is None:
            ending = f"the server ended the connection ({talk.ended})" if talk.ended else "nothing came"
            raise Absent(f"{what} was not answered: {ending}")
        if answer.problem is not None:  # a line may be disturbed: it must happen again, on a line that works
            raise Absent(f"{what} got {answer.says()}")
        return answer

    def expect_normal(self, talk: Talk, what: str, quantity: int = 1) -> Adu:
        """Gives the next answer, which must be the normal answer to a read of `quantity` items."""
        answer = self.expect(talk, what)
        if not is_normal(answer, self.facts.function, quantity):
            raise Missed(f"{what} got {answer.says()}, not the normal answer")
        return answer

    def expect_silence(
        self, talk: Talk, what: str, *, exception: bool = False, proven: bool = True, next_one: bool = False
    ) -> str:
        """Nothing, or a close, must follow; `exception` tolerates an exception too. Gives what followed, in words.

        On a line silence counts only if a plain read is answered afterwards, unless `proven` is false: one of three, or
        the very next one if the row demands that of the `next_one`.
        """
        data = talk.anything()
        if not data and talk.ended is None and self.facts.parallel and self.health() == "answers":
            data = talk.anything(0.0)  # what the server did before it answered the control request is here by now
        if not data:
            if self.carrier.line and proven and not self.still_answers(what, 1 if next_one else READS_THAT_PROVE):
                raise Absent(f"{what} was not answered, as it should be, but then neither was a plain read")
            return f"closed ({talk.ended})" if talk.ended else "no answer"
        answer = next(iter(self.carrier.split(data, complete=True)), None)
        if answer is not None and exception and answer.function & 0x80:
            if answer.exception in BUSY:
                raise Busy(f"the server says it is busy ({answer.says()}); {what} cannot be judged")
            return answer.says()
        seen = answer.says() if answer else f"{len(data)} bytes: {data[:12].hex(' ')}"
        raise Missed(f"{what} must not be answered, but got {seen}")

    def still_answers(self, after: str, tries: int) -> bool:
        """Whether one of so many plain reads is answered. That it was not the first is told."""
        for count in range(tries):
            if self.health() == "answers":
                late = f"plain reads behind {after} that were not answered before one was: {count}"
                if count and late not in self.notes:
                    self.note(late)
                return True
        return False

    def health(self) -> Health:
        """Sends a plain read on a new connection: does the server still answer?"""
        log, self.exchanges = self.exchanges, []
        talk = None
        try:
            talk = Talk(self._opened(), 0, self.exchanges, self)
            if self.facts.greeting:
                talk.skip(len(self.facts.greeting))
            talk.send(self.request(self.read()))
            answer = talk.answer()
            return "answers" if answer is not None and answer.problem is None else "silent"
        except WireError as error:
            return error.kind
        finally:
            self.exchanges = log
            if talk is not None:
                talk.close()

    def must_be_usable(self, after: str) -> None:
        """A plain read on the next connection must be answered. Raises `Absent`, `Missed` or `Undecided`."""
        health = self.health()
        if health == "answers":
            return
        for _ in range(2):
            health = self.health()
            if health == "answers":
                raise Absent(f"the next connection after {after} was not served, a later one was")
        if health == "unreachable":
            raise Undecided(f"the server cannot be reached after {after}; whose fault that is, is not known")
        state = "connections are refused" if health == "refused" else "connections are made, requests not answered"
        raise Missed(f"the server is not usable after {after}: {state}")
