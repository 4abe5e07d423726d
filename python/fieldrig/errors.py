"""The exceptions of fieldrig. Blame is a type, and the first word of the text.

::

    FieldrigError
    +-- DutError                "DUT: .."           the device under test is at fault
    |   +-- ProtocolError                           its bytes break the protocol
    |   +-- ExceptionAnswer                         it answered a Modbus request with an exception code
    |   +-- Refused                                 it turned a request down (MQTT reason codes)
    |   +-- Untrusted                               it presented a certificate that is not one to believe
    |   +-- CommandFailed                           a command on its console ended with a status other than 0
    |   +-- NoAnswer (TimeoutError)                 it stayed silent on a path that is known to work
    |   +-- ConnectionLost                          it ended a connection that should have stayed
    |   +-- ExpectationFailed (AssertionError)      what a test expected did not come
    |   +-- UnexpectedEvent (AssertionError)        what a test excluded did come
    |   `-- LimitExceeded (AssertionError)          a measurement lies outside its limit
    +-- BenchError              "BENCH: .."         the bench, not the device, is at fault
    |   +-- BenchFileError                          a bench or model file is wrong, with file, line and column
    |   +-- PortError                               a port is missing, busy or cannot be opened
    |   +-- PortLost                                a port of the bench went away
    |   +-- LinkDown                                a link or device was lost in an earlier test and not recovered
    |   +-- EndpointStuck                           an endpoint stopped making progress (our defect)
    |   `-- InconclusiveError   "INCONCLUSIVE: .."  nothing was proven, neither for nor against the device
    |       +-- Unanswered (TimeoutError)           silence on a path that was never seen to work
    |       `-- ObserverBlind                       silence was expected, but the observer was not proven alive
    `-- UsageError (ValueError) "USAGE: .."         the test, or the call, is wrong
        +-- NoSuchLink (AttributeError)             a device or bench has no link of this name
        +-- Stopped                                 the rig or the object was closed before
        +-- Reentered                               a call from within a callback of the same object
        `-- ForkError                               an object made before `os.fork()` was used in the child

Every exception has `.message` (without the blame), `.hint` (a known remedy, or None) and `.facts` (a dict of what is
known beside the text: codes, bytes, places). All of them can be pickled.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "BenchError",
    "BenchFileError",
    "CommandFailed",
    "ConnectionLost",
    "DutError",
    "EndpointStuck",
    "ExceptionAnswer",
    "ExpectationFailed",
    "FieldrigError",
    "ForkError",
    "InconclusiveError",
    "LimitExceeded",
    "LinkDown",
    "NoAnswer",
    "NoSuchLink",
    "ObserverBlind",
    "PortError",
    "PortLost",
    "ProtocolError",
    "Reentered",
    "Refused",
    "Stopped",
    "Unanswered",
    "UnexpectedEvent",
    "Untrusted",
    "UsageError",
]


class FieldrigError(Exception):
    """The base of everything that fieldrig raises."""

    blame: ClassVar[str] = "FIELDRIG"

    message: str
    hint: str | None
    facts: dict[str, Any]

    def __init__(self, message: str, *, hint: str | None = None, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.facts = facts

    def __str__(self) -> str:
        text = f"{self.blame}: {self.message}"
        return text if self.hint is None else f"{text}\n  hint: {self.hint}"


class DutError(FieldrigError):
    """The device under test is at fault."""

    blame = "DUT"


class ProtocolError(DutError):
    """Its bytes break the protocol; `facts["received"]` holds them where they are known."""


class ExceptionAnswer(DutError):
    """It answered a Modbus request with an exception."""

    @property
    def code(self) -> int:
        """The exception code (2: illegal data address); -1 if it was not given."""
        return int(self.facts.get("code", -1))

    @property
    def function(self) -> int:
        """The function code of the request; -1 if it was not given."""
        return int(self.facts.get("function", -1))


class Refused(DutError):
    """It turned a request down."""


class Untrusted(DutError):
    """It presented a certificate that is not one to believe: unknown, expired, or for another name."""


class CommandFailed(DutError):
    """A command on its console ended with a status other than 0: `facts["status"]`, `facts["output"]`."""


class NoAnswer(DutError, TimeoutError):
    """It stayed silent although the path to it is known to work."""


class ConnectionLost(DutError):
    """It ended a connection that should have stayed."""


class ExpectationFailed(DutError, AssertionError):
    """What a test expected did not come in time."""


class UnexpectedEvent(DutError, AssertionError):
    """What a test excluded did come."""


class LimitExceeded(DutError, AssertionError):
    """A measurement lies surely outside its limit."""


class BenchError(FieldrigError):
    """The bench is at fault: cabling, ports, brokers, files, or fieldrig itself."""

    blame = "BENCH"


class BenchFileError(BenchError):
    """A bench or model file is wrong; the message begins with file, line and column."""

    @property
    def file(self) -> str | None:
        """The file."""
        return self.facts.get("file")

    @property
    def line(self) -> int | None:
        """The line, counting from 1."""
        return self.facts.get("line")

    @property
    def column(self) -> int | None:
        """The column, counting from 1."""
        return self.facts.get("column")


class PortError(BenchError):
    """A port is missing, busy or cannot be opened."""


class PortLost(BenchError):
    """A port went away while it was in use."""


class LinkDown(BenchError):
    """A link or a device was lost in an earlier test, `facts["since"]`, and could not be recovered."""


class EndpointStuck(BenchError):
    """An endpoint raised, or asked to be called again without end: never a hang, always this."""


class InconclusiveError(BenchError):
    """Nothing was proven, neither for the device nor against it."""

    blame = "INCONCLUSIVE"


class Unanswered(InconclusiveError, TimeoutError):
    """Silence on a path that was never seen to work: nobody knows whose fault it is."""


class ObserverBlind(InconclusiveError):
    """Silence was expected, but the observer was not proven alive to the end of the window."""


class UsageError(FieldrigError, ValueError):
    """The test, or the call, is wrong."""

    blame = "USAGE"


class NoSuchLink(UsageError, AttributeError):
    """A device or the bench has no link of this name."""


class Stopped(UsageError):
    """The rig or the object was closed before."""


class Reentered(UsageError):
    """A call from within a callback of the same object."""


class ForkError(UsageError):
    """An object made before `os.fork()` was used in the child."""
