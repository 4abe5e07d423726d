"""A client of the field, tokio-modbus, on the connections of this suite.

tokio-modbus makes the requests and reads the answers; the bytes go over a `Talk`, so that they stand in the report, and
whatever is put between suite and server is between these two as well.

What tokio-modbus cannot use is held against the server only if the suite finds fault with it as well: a proper answer
that it cannot use makes the row not applicable.
"""

from __future__ import annotations

from types import TracebackType
from typing import Literal, Self

from fieldrig.errors import UsageError
from fieldrig.modbus import StockDialogue

from .frames import Adu, is_normal
from .outcome import Absent, Inapplicable, Missed
from .server import Server

Made = tuple[Literal["answer"], tuple[int, ...]] | tuple[Literal["exception"], int]
"""What tokio-modbus makes of an answer: values, or the code of an exception."""


class FieldClient:
    """tokio-modbus on a connection of its own; one request at a time.

    A server may have room for one connection only: what the suite asks itself comes before or after.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._talk.close()

    def _connect(self) -> None:
        self._talk = self._server.connect()
        self._stock = StockDialogue("tcp" if self._server.carrier.name in ("tcp", "tls") else "rtu")
        self._asked = self._sent = b""
        self._served = False

    def send(self, pdu: bytes) -> None:
        """Lets it ask. Raises `Inapplicable` if it has no such request."""
        try:
            self._sent = self._stock.ask(pdu, unit=self._server.unit)
        except UsageError as error:
            raise Inapplicable(error.message) from error
        self._asked = pdu
        self._talk.send(self._sent)

    def receive(self, what: str) -> Made:
        """What it makes of the answer. Raises `Absent`, `Missed` if there is none that it can use."""
        answer = self._server.expect(self._talk, what)
        self._served = True
        made = self._stock.take(answer.raw)
        if made is not None and (made[0] == "answer" or made[0] == "exception"):
            return made
        says = "it waits for more" if made is None else made[1]
        if self._is_proper(answer):
            raise Inapplicable(f"{what} got {answer.says()}, which is proper, but tokio-modbus cannot use it: {says}")
        raise Missed(f"{what} got {answer.says()}; tokio-modbus says of it: {says}")

    def ask(self, pdu: bytes, what: str) -> Made:
        """A request, and what it makes of the answer; once more if the server has ended a connection that it served."""
        self.send(pdu)
        try:
            return self.receive(what)
        except Absent:
            if not (self._talk.ended and self._served):
                raise
        self._talk.close()
        self._connect()
        self.send(pdu)
        return self.receive(what)

    def is_left(self) -> bool:
        """Whether the server ends the connection, as it may."""
        return self._talk.ends(self._server.timing.settle)

    def _is_proper(self, answer: Adu) -> bool:
        """By the suite's own reading: header, unit and PDU are those of an answer to the request."""
        if answer.unit != self._server.unit or not is_answer(self._asked, answer):
            return False
        if self._server.carrier.name not in ("tcp", "tls"):
            return True  # a frame with a problem was sorted out before
        header = (answer.transaction, answer.protocol, answer.length)
        return header == (int.from_bytes(self._sent[:2], "big"), 0, 1 + len(answer.pdu))


def is_answer(asked: bytes, answer: Adu) -> bool:
    """The PDU is one that may answer the request."""
    function, pdu = asked[0], answer.pdu
    if answer.function == function | 0x80:
        return len(pdu) == 2
    if function in (1, 2, 3, 4):
        return is_normal(answer, function, int.from_bytes(asked[3:5], "big"))
    if function in (5, 6, 22):
        return pdu == asked
    if function in (15, 16):
        return pdu == asked[:5]
    return function == 43 and pdu[:3] == asked[:3] and _objects_fit(pdu)


def _objects_fit(pdu: bytes) -> bool:
    """The objects of an identification fill its PDU to the end (AP 6.21)."""
    if len(pdu) < 7:
        return False
    at = 7
    for _ in range(pdu[6]):
        if at + 2 > len(pdu):
            return False
        at += 2 + pdu[at + 1]
    return at == len(pdu)
