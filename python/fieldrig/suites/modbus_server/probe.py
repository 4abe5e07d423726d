"""Before anything is judged: does a Modbus server answer there at all, and where can it be read?

The probe only reads. What it cannot find out is never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from .capabilities import TABLES
from .frames import Adu, is_normal, read_pdu
from .server import Server, Talk
from .wire import WireError

_CALLED = {
    "tcp": "Modbus/TCP",
    "udp": "Modbus over UDP",
    "tls": "Modbus/TCP Security",
    "rtu": "Modbus RTU",
    "ascii": "Modbus ASCII",
    "rtu+tcp": "RTU over TCP",
    "ascii+tcp": "ASCII over TCP",
}

CANDIDATES = (0, 1, 10, 100, 1000, 4096, 10000, 30000, 30001, 40000, 40001, 50000, 0x8000)
"""Where devices that do not begin at address 0 are known to begin."""


@dataclass(eq=False)
class ProbeFailure(Exception):
    """Nothing can be judged."""

    kind: Literal["bench", "inconclusive", "nothing"]
    """The address is wrong; the server keeps silent; the server answers but nothing readable was found."""
    text: str
    hint: str

    def __str__(self) -> str:
        return f"{self.text}\nhint: {self.hint}"


def probe(server: Server, address: str) -> None:
    """Sets `server.facts`. Raises `ProbeFailure`."""
    latency = 0.0
    server.facts = replace(server.facts, parallel=False)  # until it has shown that it is
    refused: list[str] = []
    if not server.carrier.line:
        server.facts = replace(server.facts, greeting=_greeting(server, address))
    for function, first in _places(server):
        answer, took = _ask(server, address, function, first, 1)
        latency = max(latency, took)
        if is_normal(answer, function, 1):
            server.facts = replace(server.facts, function=function, address=first, latency=latency)
            _explore(server, address)
            return
        refused.append(f"{function:02}@{first}: {answer.says()}")
    raise ProbeFailure(
        "nothing",
        f"{address} speaks Modbus, but no address that can be read was found ({'; '.join(refused[:3])}, ..)",
        "declare one in the capabilities file: [holding] first = ADDRESS",
    )


def _places(server: Server) -> list[tuple[int, int]]:
    declared = [
        (TABLES[name], table.first if table.first is not None else 0)
        for name, table in server.capabilities.tables.items()
        if table.first is not None or table.last is not None
    ]
    holding = [(3, address) for address in CANDIDATES]
    return declared + holding + [(function, address) for function in (4, 1, 2) for address in CANDIDATES[:4]]


def _explore(server: Server, address: str) -> None:
    facts = server.facts
    run = 1
    while run < 3:
        try:
            answer, _ = _ask(server, address, facts.function, facts.address, run + 1)
        except ProbeFailure:  # it speaks Modbus; what is wrong with this answer is for rows to say
            break
        if not is_normal(answer, facts.function, run + 1):
            break
        run += 1
    slowest = max(facts.latency, 0.001)
    server.facts = replace(facts, run=run)
    server.timing = replace(
        server.timing,
        answer=max(server.timing.answer, 10 * slowest),
        silence=max(server.timing.silence, 5 * slowest),
    )
    if server.carrier.line:
        server.facts = replace(server.facts, parallel=False)
        return
    server.begin()
    first = _connected(server, address)
    first.send(server.request(server.read()))
    served = first.answer() is not None
    server.facts = replace(server.facts, parallel=served and server.health() == "answers")
    server.end()


def _greeting(server: Server, address: str) -> bytes:
    """What the server says before it is asked."""
    server.begin()
    try:
        return _connected(server, address, patient=False).anything()
    finally:
        server.end()


def _ask(server: Server, address: str, function: int, first: int, quantity: int) -> tuple[Adu, float]:
    """One read on a connection of its own; the answer must look like Modbus/TCP."""
    server.begin()
    try:
        talk = _connected(server, address)
        request = server.request(read_pdu(function, first, quantity))
        talk.send(request)
        answer = talk.answer(2 * server.timing.answer)
        took = max(talk.arrived_at - talk.sent_at, 0.0)
        rest = b"" if answer else talk.anything(0.0)
        ended = talk.ended
    finally:
        server.end()
    said = server.facts.greeting + rest
    if ended and not said and server.health() == "refused":
        hint = "does it run on, and is it up for longer than its first request?"
        raise ProbeFailure("bench", f"{address} went away while it was probed", hint)
    if answer is None and not said:
        raise _silent(server, address, ended)
    came = said or (b"" if answer is None else answer.raw)
    if server.carrier.line and came.startswith(request):
        raise _echoed(address)
    if answer is None or answer.problem or answer.protocol > 0x00FF or answer.function & 0x7F != function:
        raise _foreign(server, address, came)
    return answer, took


def _silent(server: Server, address: str, ended: str | None) -> ProbeFailure:
    asked = f"when asked for one register of unit {server.unit}"
    if server.carrier.line:
        return ProbeFailure(
            "inconclusive",
            f"{address} did not answer {asked}",
            "is --unit right, are speed and format of the line those of the device, is it wired and powered?",
        )
    seen = f"closed the connection ({ended})" if ended else "did not answer"
    return ProbeFailure(
        "inconclusive",
        f"{address} accepts connections but {seen} {asked}",
        f"is --unit right, and is this port a server of {_CALLED[server.carrier.name]} and of nothing else?",
    )


def _echoed(address: str) -> ProbeFailure:
    hint = "adapters for two wires have a switch for it, RE tied to DE; nothing that is sent may come back"
    return ProbeFailure("bench", f"{address} echoes: what comes begins with the request itself", hint)


def _foreign(server: Server, address: str, said: bytes) -> ProbeFailure:
    hint = "check the port; a Modbus/TCP server listens on 502 unless configured otherwise"
    if server.carrier.name != "tcp":
        hint = "check port, framing (RTU, ASCII), speed and format"
    called = _CALLED[server.carrier.name]
    return ProbeFailure("bench", f"{address} does not speak {called}: it sent {_shown(said)}", hint)


def _connected(server: Server, address: str, *, patient: bool = True) -> Talk:
    try:
        return server.connect(patient=patient)
    except WireError as error:
        hint = "is the server running, and is this its address and port?"
        raise ProbeFailure("bench", f"cannot connect to {address}: {error}", hint) from error


def _shown(data: bytes) -> str:
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data[:24])
    return f"{len(data)} bytes: {data[:12].hex(' ')} ({text!r})"
