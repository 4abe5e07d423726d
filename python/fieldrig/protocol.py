"""Protocols of one's own: described in TOML or in dicts, with client, emulated device, wrong frames and dissection.

::

    from fieldrig import protocol

    acme = protocol.Protocol.load("acme.toml")
    with protocol.Device("tcp://127.0.0.1:0", acme, points={"voltage": 48.5}) as device:
        with protocol.Client(device.url, acme) as client:
            answer = client.ask("status", address=1)
            assert answer["voltage"] == 48.5
            print(answer.latency, answer.dissect().render())

docs/protocols.md describes each key of a description. In a bench file a link says ``protocol = "acme.toml"``.

Rules of this file:
- A late answer, a wrong frame, garbage and a message that answers nothing are frames of the client, never its data.
- What is sent wrong is said with ``patch=``; without it a message cannot be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from ._core import Rig, Span, Stamp
from ._core.protocol import HABITS, Answer, Device, Frame, Protocol, checksum, checksums
from ._core.protocol import Client as _Core
from ._core.stream import Sent
from .ends import did_you_mean
from .errors import BenchError, FieldrigError, UsageError
from .expect import Doubt, HasInstant, Observation, Timeline, since
from .handling import NO_ANSWER, Failed, Handler, Silence
from .inbox import MessageInbox

__all__ = [
    "HABITS",
    "NO_ANSWER",
    "Answer",
    "Client",
    "Device",
    "Frame",
    "FrameHandler",
    "Protocol",
    "Reply",
    "checksum",
    "checksums",
]

Value: TypeAlias = bool | int | float | str | bytes | Sequence[Any] | Mapping[str, Any]
"""What a field holds."""

KINDS = ("unsolicited", "late", "stray", "wrong", "garbage", "answer")
"""What a frame can be."""

Reply: TypeAlias = (
    bytes
    | str
    | Silence
    | tuple[str, Mapping[str, Value]]
    | tuple[str, Mapping[str, Value], Mapping[str, Value]]
    | None
)
"""What a handler gives: None (the rules answer), the name of a message, with its fields, with a patch; bytes as they
are; `NO_ANSWER`."""


class Client:
    """A client of a protocol that is described by data. It is connected when the constructor returns.

    Args:
        url: where the device is: ``serial:///dev/ttyUSB0?line=9600+8N1``, ``tcp://host:port``, ``unix:///path``,
            ``rfc2217://host:port?line=..``, ``wire://name`` or ``memory://name`` of a rig.
        protocol: its protocol.
        rig: the rig to share; without one, the client has its own.
        timeline: what the links of one device share; a stand-alone client has its own.
        name: what failure texts call it; the URL if not given.
        belongs_to: whose port it is: decides who is to blame when it goes away.
        guard: called before anything is sent, with what that is and what it needs; raises what must not be sent.

    Raises:
        PortError: the port is missing, busy or cannot be opened; nobody listens there.
        UsageError: the URL is malformed.
    """

    def __init__(
        self,
        url: str,
        protocol: Protocol,
        *,
        rig: Rig | None = None,
        timeline: Timeline | None = None,
        name: str | None = None,
        belongs_to: Literal["bench", "dut"] = "bench",
        guard: Callable[..., None] | None = None,
    ) -> None:
        self._name = name or url
        self._guard = guard
        self._core = _Core(url, protocol, rig=rig, name=self._name, belongs_to=belongs_to)
        self._timeline = timeline or Timeline(self._core.now, self._core.stalls)
        self._doubt = Doubt()
        self._inbox: MessageInbox[Frame] = MessageInbox(self._core, self._timeline, self._name, self._doubt)
        self._timeline.observe(self._arrivals)
        self._timeline.look_with(self._core.look)

    @property
    def url(self) -> str:
        """The address of the port."""
        return self._core.url

    @property
    def protocol(self) -> Protocol:
        """What it speaks."""
        return self._core.protocol

    def ask(
        self,
        message: str,
        /,
        fields: Mapping[str, Value] | None = None,
        *,
        answer: str | Sequence[str] | None = None,
        patch: Mapping[str, Value] | None = None,
        timeout: str | Span | None = None,
        **values: Value,
    ) -> Answer:
        """Sends a request and waits for its answer; a stimulus.

        Args:
            message: its name in the description.
            fields: its fields, for names that are no keywords here.
            answer: the message that answers it, or several; those of the description if not given.
            patch: what is wrong with it: fields and what they hold (a number, bytes or ``"wrong"``), ``start``,
                ``end``, ``payload``, ``prepend``, ``append`` (bytes), ``plain`` (True: nothing is escaped), ``cut`` (a
                number of bytes that are missing at the end).
            timeout: how long an answer is waited for; as the description says if not given.
            values: its fields.

        Returns:
            The answer: ``answer["field"]``, `.at` (issue of the request), `.done` (its last byte came), `.latency`.

        Raises:
            NoAnswer: no answer in time, though something sound came before.
            Unanswered: no answer in time, and nothing ever came; or the host stood still.
            PortLost, ConnectionLost: the port went away.
            UsageError: an unknown message or field, a value that does not fit; the bench does not allow it.
        """
        self._permit(message, patch)
        at = self._timeline.approach()
        answers = [answer] if isinstance(answer, str) else answer if answer is None else list(answer)
        try:
            got = self._core.ask(message, {**(fields or {}), **values}, answer=answers, patch=patch, timeout=timeout)
        except UsageError:
            raise  # nothing was sent
        except FieldrigError:
            self._timeline.stimulus(at or self._core.now())
            raise
        self._timeline.stimulus(got.at)
        return got

    def send(
        self,
        message: str,
        /,
        fields: Mapping[str, Value] | None = None,
        *,
        patch: Mapping[str, Value] | None = None,
        **values: Value,
    ) -> Sent:
        """Sends a message to which no answer is awaited; a stimulus. The arguments are those of `ask`.

        Raises:
            PortLost, ConnectionLost: the port went away.
            UsageError: an unknown message or field, a value that does not fit; the bench does not allow it.
        """
        self._permit(message, patch)
        return self._stimulus(lambda: self._core.send(message, {**(fields or {}), **values}, patch=patch))

    def raw(self, data: bytes) -> Sent:
        """Sends bytes as they are; a stimulus.

        Raises:
            PortLost, ConnectionLost: the port went away.
            UsageError: the bench does not allow it.
        """
        if self._guard is not None:
            self._guard("raw bytes", "write")
        return self._stimulus(lambda: self._core.raw(data))

    def expect(
        self,
        message: str | None = None,
        /,
        *,
        kind: str = "unsolicited",
        after: HasInstant | Stamp | None = None,
        within: str | Span | None = None,
        **values: Value,
    ) -> Frame:
        """The first frame that answers nothing and fits, came surely behind the cursor and surely inside the window.

        Args:
            message: the name of the message; any if not given.
            kind: ``unsolicited``, or ``late``, ``stray`` (answers to nothing), ``wrong``, ``garbage``.
            after: an action, an observation or a stamp at which the cursor stands and the window begins; without it the
                cursor is the last stimulus on any link.
            within: how long it may take, e.g. ``"2s"``.
            values: fields and what they hold.

        Raises:
            ExpectationFailed: it did not come.
            InconclusiveError: it came, but when cannot be said well enough, or the host stood still.
            PortLost, ConnectionLost: the port went away.
        """
        return self._inbox.expect(self._pattern(kind, message, values), after, within)

    def expect_none(
        self,
        message: str | None = None,
        /,
        *,
        kind: str = "unsolicited",
        after: HasInstant | Stamp | None = None,
        for_: str | Span | None = None,
        **values: Value,
    ) -> None:
        """No frame that fits comes for this long, and the port was open to the end.

        Raises:
            UnexpectedEvent: it came.
            ObserverBlind: the port was lost, so that silence proves nothing.
            InconclusiveError: it may have come outside the window.
        """
        self._inbox.expect_none(self._pattern(kind, message, values), after, for_)

    def frames(self) -> tuple[Frame, ...]:
        """Everything that came so far, answers among it, in order of arrival; 10 000 frames are kept."""
        self._core.look()
        return self._core.frames()

    def doubt(self, reason: str | None) -> None:
        """Says why a message that does not come is held against nobody for now; None: against its sender again."""
        self._doubt.set(reason)

    def close(self) -> None:
        """Closes the port; closing twice is fine."""
        self._timeline.forget(self._arrivals)
        self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._core)

    def _permit(self, message: str, patch: Mapping[str, Value] | None) -> None:
        """Asks the guard, if there is one; what is patched may be anything."""
        if self._guard is None or message not in self.protocol.messages:
            return
        needs = self.protocol.needs(message)
        if patch:
            self._guard(f"a patched `{message}`", needs, "write")
        else:
            self._guard(f"`{message}`", needs)

    def _pattern(self, kind: str, message: str | None, values: Mapping[str, Value]) -> _Pattern:
        if kind not in KINDS:
            raise UsageError(f"{self._name}: kind= is one of {', '.join(KINDS)}, not {kind!r}")
        if message is not None and message not in self.protocol.messages:
            hint = did_you_mean(message, self.protocol.messages)
            raise UsageError(f"{self._name}: {self.protocol.name} has no message `{message}`", hint=hint)
        if kind == "garbage" and (message is not None or values):
            raise UsageError(f"{self._name}: garbage is no message and has no fields")
        self.protocol.expects(message, values)
        return _Pattern(kind, message, values, self.protocol)

    def _stimulus(self, act: Callable[[], Sent]) -> Sent:
        at = self._timeline.approach()
        sent = act()
        if at is not None:
            sent = Sent(since(at, sent.at), sent.done, sent.data)
        self._timeline.stimulus(sent.at)
        return sent

    def _arrivals(self, since: Stamp) -> list[tuple[str, Observation]]:
        return [(self._name, frame) for frame in self._core.frames() if frame.at.order(since) != "before"]


class _Pattern:
    """What a frame must be."""

    def __init__(self, kind: str, message: str | None, values: Mapping[str, Value], protocol: Protocol) -> None:
        self._kind, self._message, self._values, self._protocol = kind, message, values, protocol
        # Answers have the number of their request, so that a late one is known for one.
        numbered = protocol.sequence is not None
        # While an answer is awaited, such a message by itself may be taken for a wrong or a late answer.
        perhaps = ("stray",) if numbered else ("stray", "late")
        self._perhaps = perhaps if kind == "unsolicited" and message is not None else ()

    def fits(self, frame: Frame, /) -> bool:
        if frame.kind != self._kind and frame.kind not in self._perhaps:
            return False
        if self._message not in (None, frame.message):
            return False
        found = frame.fields
        holds = self._protocol.holds
        return all(
            name in found and holds(frame.message, name, value, found[name]) for name, value in self._values.items()
        )

    def doubt(self, frame: Frame, /) -> str | None:
        if frame.kind == self._kind:
            return None
        if frame.kind == "late":
            return "may be an answer that came late, or have come by itself: no number tells them apart"
        return f"may be an answer, or have come by itself (then write unasked = true into [message.{frame.message}])"

    def __str__(self) -> str:
        wanted = [self._kind, self._message or "frame", *(f"{name}={value!r}" for name, value in self._values.items())]
        return " ".join(wanted)


class FrameHandler(Handler):
    """What stands between an emulated device and the function that answers for it."""

    def ask(self, request: Frame) -> Any:
        """What the function gives, as the device takes it: None, bytes, or a tuple that begins with a word."""
        given = super().ask(request)
        if isinstance(given, Failed):
            return ("failed", given.error, given.trace)
        if isinstance(given, Silence):
            return ("silence",)
        if given is None or isinstance(given, bytes):
            return given
        name, *rest = (given,) if isinstance(given, str) else given if isinstance(given, tuple) else (None,)
        if isinstance(name, str) and len(rest) <= 2 and all(isinstance(part, Mapping) for part in rest):
            fields, patch = [*rest, {}, {}][:2]
            return ("message", name, fields, patch)
        replies = "None, the name of a message, (name, fields), (name, fields, patch), bytes and NO_ANSWER are"
        return ("failed", f"it gave {given!r}, which is no reply; {replies}", "")

    def problem(self) -> BenchError | None:
        """How it failed since this was asked last; None if it did not."""
        problem = super().problem()
        if problem is not None:
            problem.hint = "the client got no answer; the requests stand in the run log, under frame.handler_failed"
        return problem
