"""A small Modbus client that does everything right, and can be told to do exactly one thing wrong.

It proves that the rows of this suite can fail (`tests/meta/test_client_kill_matrix.py`): each switch breaks one
requirement. It shares no code with the suite that judges it, nor with fieldrig's own client.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import termios
import threading
import time
import tty
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..common.ready import readable
from .naive_tls import Security

READS = {"read_coils": 1, "read_discrete_inputs": 2, "read_holding": 3, "read_input": 4}
MOST = {1: 2000, 2: 2000, 3: 125, 4: 125, 15: 1968, 16: 123}
FIRST_READ = 6
"""So many bytes a client gives that believes its first read to be the whole answer."""


class Failure(Exception):
    """A call that did not succeed: the kind of error, and the code of an exception."""

    def __init__(self, kind: str, text: str = "", code: int | None = None) -> None:
        super().__init__(text or kind)
        self.kind = kind
        self.code = code


class Wrong(Exception):
    """An answer that is not for this call: it goes on waiting."""


class NaiveDriver:
    """The driver of the naive client.

    Args:
        faults: the switches that are on; `SWITCHES` explains them.
    """

    def __init__(self, *faults: str) -> None:
        self._faults = frozenset(faults)
        self._client: NaiveClient | None = None

    def __call__(self, request: dict[str, Any]) -> Mapping[str, Any]:
        call, arguments = request["call"], {key: value for key, value in request.items() if key != "call"}
        try:
            if call == "open":
                self._close()
                self._client = NaiveClient(self._faults, **arguments)
                return {"ok": True, "name": "naive", "retries": 0}
            if call == "close":
                self._close()
                return {"ok": True}
            if call == "together":
                return {"outcomes": self._together(arguments["calls"])}
            return self._one(call, arguments)
        except Failure as failure:
            return {"error": failure.kind, "text": str(failure), "code": failure.code}

    def _one(self, call: str, arguments: dict[str, Any]) -> Mapping[str, Any]:
        assert self._client is not None
        began = time.monotonic()
        outcome: dict[str, Any]
        try:
            outcome = self._client.call(call, **arguments)
        except Failure as failure:
            outcome = {"error": failure.kind, "text": str(failure), "code": failure.code}
        return {**outcome, "took": time.monotonic() - began}

    def _together(self, calls: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
        assert self._client is not None
        if not self._client.serial:
            return self._client.pipeline(calls)
        outcomes: list[Mapping[str, Any]] = [{"error": "other"}] * len(calls)

        def one(place: int, call: dict[str, Any]) -> None:
            arguments = {key: value for key, value in call.items() if key != "call"}
            with contextlib.suppress(TypeError, ValueError):  # another task has closed the port meanwhile
                outcomes[place] = self._one(call["call"], arguments)

        threads = [threading.Thread(target=one, args=each) for each in enumerate(calls)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return outcomes

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


class NaiveClient:
    """One connection or line. `pending` requests are the (transaction, unit, request PDU) that wait for an answer."""

    def __init__(
        self,
        faults: frozenset[str],
        *,
        url: str,
        timeout: float,
        unit: int = 1,
        retries: int = 0,
        echo: bool = False,
        first_transaction: int = 1,
        ca: str = "",
        cert: str = "",
        key: str = "",
        **_: Any,
    ) -> None:
        parts = urlsplit(url)
        self._faults = faults
        self._url = parts
        self.serial = parts.scheme not in ("tcp", "tls")
        self._security = Security(faults, ca, cert, key) if parts.scheme == "tls" else None
        self._ascii = parts.scheme == "ascii"
        self._timeout = timeout * (1.4 if "slow time-out" in faults else 1.0)
        self._echo = echo and "echo stays" not in faults
        self._transaction = first_transaction
        self._file: socket.socket | int | None = None
        self._buffer = b""
        self._unanswered: set[int] = set()
        self._answered: set[int] = set()
        self._lock = threading.Lock()
        self._quiet_from = 0.0
        line = parse_qs(parts.query).get("line", ["9600 8N1"])[0]
        self._silence = 3.5 * 11 / int(line.split(" ")[0].split("+")[0])
        if self.serial:
            self._connect()

    # -- the port ----------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        if self._file is not None:
            return
        try:
            if self._security is not None:
                self._file = self._security.connect(self._url)
            elif not self.serial:
                connection = socket.create_connection((str(self._url.hostname), int(self._url.port or 502)), 2.0)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._file = connection
            else:
                self._file = os.open(self._url.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
                tty.setraw(self._file)
                termios.tcflush(self._file, termios.TCIOFLUSH)
        except OSError as error:
            raise Failure("refused", str(error)) from None

    def close(self) -> None:
        file, self._file = self._file, None
        self._buffer = b""
        if isinstance(file, socket.socket):
            file.close()
        elif file is not None:
            os.close(file)

    def _write(self, data: bytes) -> None:
        try:
            if isinstance(self._file, socket.socket):
                self._file.sendall(data)
            elif self._file is not None:
                os.write(self._file, data)
        except OSError as error:
            self.close()
            raise Failure("lost", str(error)) from None

    def _read(self, deadline: float) -> bytes:
        """What came; nothing if the time is up."""
        assert self._file is not None
        if not self._ready(deadline - time.monotonic()):
            return b""
        try:
            if isinstance(self._file, socket.socket):
                self._file.settimeout(max(deadline - time.monotonic(), 0.001))  # not all that comes holds data
                data = self._file.recv(4096)
            else:
                data = os.read(self._file, 4096)
        except TimeoutError:
            return b""
        except OSError as error:
            if isinstance(error, ssl.SSLError) and self._security is not None:
                self._security.failed()
            data = b""
        if not data:
            self.close()
            raise Failure("timeout" if "lost as time-out" in self._faults else "lost", "the connection was closed")
        return data

    def _ready(self, within: float) -> bool:
        """Something has come, or comes in time."""
        if isinstance(self._file, ssl.SSLSocket) and self._file.pending():
            return True
        assert self._file is not None
        return bool(readable([self._file], within))

    # -- calls -------------------------------------------------------------------------------------------------------

    def call(self, call: str, unit: int = 1, **arguments: Any) -> dict[str, Any]:
        """One call. Raises `Failure`."""
        if call == "read_device_id":
            return self._identification(unit, **arguments)
        pdu = self._request(call, **arguments)
        self._check_unit(pdu, unit, raw=call == "raw")
        with self._lock if "tasks" not in self._faults else contextlib.nullcontext():
            answer = self._exchange(unit, pdu)
        return self._outcome(call, pdu, answer)

    def pipeline(self, calls: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
        """All requests at once, then all answers. TCP only."""
        self._prepare()
        pending = []
        for call in calls:
            arguments = {key: value for key, value in call.items() if key not in ("call", "unit")}
            pdu = self._request(call["call"], **arguments)
            pending.append((self._next_transaction("same ids" in self._faults), pdu))
            self._write(self._frame(pending[-1][0], call["unit"], pdu))
        outcomes: dict[int, Mapping[str, Any]] = {}
        waiting = list(range(len(calls)))
        deadline = time.monotonic() + self._timeout
        while waiting and (frame := self._tcp_frame(deadline)):
            transaction = int.from_bytes(frame[:2], "big")
            place = waiting[0]
            if "answers in order" not in self._faults:
                place = next((each for each in waiting if pending[each][0] == transaction), -1)
            if place >= 0:
                waiting.remove(place)
                outcomes[place] = self._outcome(calls[place]["call"], pending[place][1], frame[7:])
        return [outcomes.get(place, {"error": "timeout"}) for place in range(len(calls))]

    def _check_unit(self, pdu: bytes, unit: int, *, raw: bool) -> None:
        if not self.serial:
            return
        if unit > 247 and "reserved units" not in self._faults:
            raise Failure("refused", f"unit {unit} is reserved")
        writes = pdu[0] in (5, 6, 15, 16, 22)
        if unit == 0 and not writes and not raw and "broadcast reads" not in self._faults:
            raise Failure("refused", "a read cannot be broadcast")

    def _exchange(self, unit: int, pdu: bytes) -> bytes:
        """The PDU of the answer; empty after a broadcast."""
        self._prepare()
        transaction = self._next_transaction()
        frame = self._frame(transaction, unit, pdu)
        self._write(frame)
        if self.serial and unit == 0 and "broadcast waits" not in self._faults:
            pause = 0.0 if "no turnaround" in self._faults else 0.12
            self._quiet_from = time.monotonic() + pause
            return b""
        deadline = time.monotonic() + self._timeout
        if self._echo:
            self._skip(len(frame), deadline)
        again = 0
        while True:
            answer = self._answer(transaction, unit, pdu, deadline)
            if answer[:1] == bytes([pdu[0] | 0x80]) and answer[1:2] in (b"\5", b"\6") and "busy again" in self._faults:
                again += 1
                if again < 3:
                    self._write(frame)
                    continue
            break
        if "new connection" in self._faults:
            self.close()
        return answer

    def _prepare(self) -> None:
        """What must be done before a request: connect, drain, be silent."""
        self._connect()
        if not ({"no drain", "second copy"} & self._faults):
            self._drain()
        if self.serial:
            silence = 0.0 if "no silence" in self._faults else self._silence
            wait = max(self._quiet_from, time.monotonic() + silence) - time.monotonic()
            if wait > 0:
                time.sleep(wait)

    def _drain(self) -> None:
        self._buffer = b""
        while self._file is not None and self._ready(0):
            try:
                self._read(0)
            except Failure:
                self._connect()

    def _skip(self, count: int, deadline: float) -> None:
        while len(self._buffer) < count:
            data = self._read(deadline)
            if not data:
                raise Failure("timeout", "no echo came")
            self._buffer += data
        self._buffer = self._buffer[count:]

    def _next_transaction(self, same: bool = False) -> int:
        if "wrap" in self._faults and self._transaction > 0xFFFF:
            raise Failure("other", "no transaction id is left")
        transaction = self._transaction % 0x10000
        self._transaction += 0 if same else 1
        return transaction

    # -- frames ------------------------------------------------------------------------------------------------------

    def _frame(self, transaction: int, unit: int, pdu: bytes) -> bytes:
        if not self.serial:
            length = len(pdu) + (0 if "length of request" in self._faults else 1)
            return struct.pack(">HHHB", transaction, 0, length, unit) + pdu
        body = bytes([unit]) + pdu
        if self._ascii:
            return b":" + (body + bytes([-sum(body) & 0xFF])).hex().upper().encode() + b"\r\n"
        return body + _crc(body)

    def _answer(self, transaction: int, unit: int, pdu: bytes, deadline: float) -> bytes:
        """Waits for the answer to this request; what is not for it is passed over. Raises `Failure`."""
        while True:
            frame = self._serial_frame(pdu, deadline) if self.serial else self._tcp_frame(deadline)
            if not frame:
                self._unanswered.add(transaction)
                raise Failure("timeout", "no answer came")
            try:
                answer = self._serial_pdu(frame, unit) if self.serial else self._tcp_pdu(frame, transaction, unit)
            except Wrong:
                continue
            self._answered.add(transaction)
            return answer

    def _tcp_pdu(self, frame: bytes, transaction: int, unit: int) -> bytes:
        found, protocol = struct.unpack(">HH", frame[:4])
        loose = "any transaction" in self._faults
        late = "late" in self._faults and found in self._unanswered
        copied = "second copy" in self._faults and found in self._answered
        exception = "believes exceptions" in self._faults and len(frame) == 9 and frame[7] & 0x80
        low = "low byte" in self._faults and found % 256 == transaction % 256
        if found != transaction and not (loose or late or copied or exception or low):
            raise Wrong
        if protocol != 0 and "any protocol" not in self._faults:
            raise Failure("malformed", f"protocol id {protocol}")
        anybody = "any unit" in self._faults or ("unit 0 is any" in self._faults and frame[6] == 0)
        if frame[6] != unit and not anybody:
            raise Failure("malformed", f"an answer of unit {frame[6]}")
        return frame[7:]

    def _tcp_frame(self, deadline: float) -> bytes:
        """The next frame; empty if none came in time."""
        fresh = True
        while True:
            data = self._buffer
            stated = 6 + int.from_bytes(data[4:6], "big")
            if len(data) >= 9 and "any length" in self._faults and data[7] in READS.values():
                stated = 9 + data[8]
            if len(data) >= 7 and stated < 9:
                raise Failure("malformed", "an answer without a PDU")
            if len(data) >= 7 and len(data) >= stated:
                self._buffer = data[stated:]
                return data[:stated]
            if data and not fresh and "whole segments" in self._faults:
                raise Failure("malformed", "half an answer")
            if "patient with bytes" in self._faults:
                deadline = time.monotonic() + self._timeout
            more = self._read(deadline)
            fresh = False
            if not more:
                return b""
            self._buffer += more

    def _serial_pdu(self, frame: bytes, unit: int) -> bytes:
        if self._ascii:
            body = bytes.fromhex(frame[1:-2].decode())
            good = sum(body) % 256 == 0
            body, found = body[:-1], body[0]
        else:
            body, found, good = frame[:-2], frame[0], _crc(frame[:-2]) == frame[-2:]
        exception = "believes exceptions" in self._faults and len(body) == 3 and body[1] & 0x80
        if not good and "any check" not in self._faults and not exception:
            raise Failure("malformed", "the check is wrong")
        if found != unit and "unit ends" in self._faults:
            raise Failure("malformed", f"an answer of unit {found}")
        if found != unit and not exception and not ("unit 0 is any" in self._faults and found == 0):
            raise Wrong
        return body[1:]

    def _serial_frame(self, pdu: bytes, deadline: float) -> bytes:
        """The next frame: RTU ends where its bytes say, or in silence; ASCII with CR LF."""
        while True:
            end = self._serial_end(pdu)
            if end:
                frame, self._buffer = self._buffer[:end], self._buffer[end:]
                return frame
            if "first read" in self._faults and pdu[0] > 0x40 and self._buffer:
                # However late it looked: never all of an answer.
                frame, self._buffer = self._buffer[:FIRST_READ], b""
                return frame
            pause = 0.002 if "strict gaps" in self._faults else 0.05
            quiet = time.monotonic() + pause
            data = self._read(min(deadline, quiet) if self._buffer and not self._ascii else deadline)
            if not data and self._buffer and not self._ascii:
                frame, self._buffer = self._buffer, b""
                return frame
            if not data:
                return b""
            self._buffer += data

    def _serial_end(self, pdu: bytes) -> int:
        data = self._buffer
        if self._ascii:
            return data.find(b"\r\n") + 2 if b"\r\n" in data else 0
        length = 0
        if len(data) > 2 and data[1] & 0x80:
            length = 5
        elif len(data) > 2 and data[1] in (1, 2, 3, 4, 23):
            length = 5 + data[2]
        elif len(data) > 1 and data[1] in (5, 6, 15, 16):
            length = 8
        elif len(data) > 1 and data[1] == 22:
            length = 10
        good = length and len(data) >= length and _crc(data[: length - 2]) == data[length - 2 : length]
        return length if good else 0

    # -- PDUs --------------------------------------------------------------------------------------------------------

    def _request(self, call: str, **arguments: Any) -> bytes:
        address = int(arguments.get("address", 0))
        if call in READS:
            self._range(READS[call], address, arguments["count"])
            function = 3 if call == "read_input" and "one table" in self._faults else READS[call]
            return struct.pack(">BHH", function, address & 0xFFFF, arguments["count"] & 0xFFFF)
        if call == "write_coil":
            return struct.pack(">BHH", 5, address, 0xFF00 if arguments["value"] else 0)
        if call == "write_register":
            return struct.pack(">BHH", 6, address, arguments["value"])
        if call == "write_coils":
            values = arguments["values"]
            self._range(15, address, len(values))
            packed = sum(bool(value) << index for index, value in enumerate(values))
            data = packed.to_bytes((len(values) + 7) // 8, "little")
            return struct.pack(">BHHB", 15, address, len(values), len(data) & 0xFF) + data
        if call == "write_registers":
            values = arguments["values"]
            self._range(16, address, len(values))
            values = values[::-1] if "last first" in self._faults else values
            order = "<" if "low byte first" in self._faults else ">"
            data = struct.pack(f"{order}{len(values)}H", *values)
            return struct.pack(">BHHB", 16, address, len(values), len(data) & 0xFF) + data
        if call == "mask_write":
            return struct.pack(">BHHH", 22, address, arguments["and_mask"], arguments["or_mask"])
        if call == "read_write_registers":
            values = arguments["values"]
            head = (arguments["read_address"], arguments["count"], arguments["write_address"], len(values))
            return struct.pack(f">BHHHHB{len(values)}H", 23, *head, 2 * len(values), *values)
        if call == "read_fifo":
            return struct.pack(">BH", 24, address)
        if call == "raw":
            return bytes.fromhex(arguments["pdu"])
        raise Failure("unsupported", call)

    def _range(self, function: int, address: int, count: int) -> None:
        if "illegal quantities" not in self._faults and not (1 <= count <= MOST[function] and address + count <= 65536):
            raise Failure("refused", f"{count} from {address}")

    def _outcome(self, call: str, pdu: bytes, answer: bytes) -> dict[str, Any]:
        deaf = "deaf writes" in self._faults and call.startswith(("write", "mask"))
        if not answer or (deaf and answer[0] & 0x80):
            return {"ok": True}
        if answer[0] & 0x80 and len(answer) == 2:
            self._exception(pdu, answer)
        if call == "raw":
            return {"pdu": answer.hex()}
        if answer[0] != pdu[0] and "any function" not in self._faults:
            raise Failure("malformed", f"function {answer[0]}")
        if call in READS or call == "read_write_registers":
            return {"values": self._values(pdu, answer)}
        if call == "read_fifo":
            return {"values": self._fifo(answer)}
        if answer[: len(pdu[:5])] != pdu[:5] and "any echo" not in self._faults:
            raise Failure("malformed", "another echo")
        if call == "mask_write" and answer != pdu and "any echo" not in self._faults:
            raise Failure("malformed", "another echo")
        return {"ok": True}

    def _exception(self, pdu: bytes, answer: bytes) -> None:
        if answer[0] != pdu[0] | 0x80 and "any exception" not in self._faults:
            raise Failure("malformed", f"an exception of function {answer[0] & 0x7F}")
        if "unknown exceptions" in self._faults and answer[1] > 0x0B:
            raise Failure("malformed", "no such exception")
        if "no address" in self._faults and answer[1] == 2:
            raise Failure("malformed", "there is no such address")
        raise Failure("exception", f"exception {answer[1]}", answer[1])

    def _values(self, pdu: bytes, answer: bytes) -> list[int]:
        data, stated = answer[2:], answer[1] if len(answer) > 1 else 0
        wanted = int.from_bytes(pdu[3:5], "big")
        if "careful with 3" in self._faults and pdu[0] in (4, 23):
            return list(struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2]))
        if pdu[0] in (1, 2) and "highest bit first" in self._faults:
            data = bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)
        if pdu[0] in (1, 2):
            if stated != len(data) or ("any count" not in self._faults and stated != (wanted + 7) // 8):
                raise Failure("malformed", "another byte count")
            return [bool(data[index // 8] >> index % 8 & 1) for index in range(min(wanted, 8 * len(data)))]
        odd = stated % 2 == 1
        if stated != len(data) and "any byte count" not in self._faults:
            raise Failure("malformed", "another byte count")
        if odd and stated == len(data) and "odd counts" in self._faults:
            return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]
        if odd and "any byte count" not in self._faults:
            raise Failure("malformed", "an odd byte count")
        if len(data) != 2 * wanted and not ({"any count", "any byte count"} & self._faults):
            raise Failure("malformed", "another quantity")
        if stated == len(data) and len(data) != 2 * wanted and "any count" not in self._faults:
            raise Failure("malformed", "another quantity")
        return list(struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2]))

    def _fifo(self, answer: bytes) -> list[int]:
        size, count = struct.unpack(">HH", answer[1:5])
        data = answer[5:]
        if "any fifo" not in self._faults and (count > 31 or size != 2 + 2 * count or len(data) != 2 * count):
            raise Failure("malformed", "the counts of the FIFO disagree")
        return list(struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2]))

    def _identification(self, unit: int, code: int, object: int) -> dict[str, Any]:
        objects: dict[str, str] = {}
        following = object
        while True:
            pdu = bytes([43, 14, code, following])
            answer = self._exchange(unit, pdu)
            if answer[0] & 0x80 and len(answer) == 2:
                self._exception(pdu, answer)
            if answer[0] != 43 or len(answer) < 7:
                raise Failure("malformed", "no identification")
            place = 7
            for _ in range(answer[6]):
                number, size = answer[place], answer[place + 1]
                objects[str(number)] = answer[place + 2 : place + 2 + size].hex()
                place += 2 + size
            if answer[4] != 0xFF:
                return {"objects": objects}
            if answer[5] <= following and "circles" not in self._faults:
                raise Failure("malformed", f"object {answer[5]} follows object {following}")
            following = answer[5]


def _crc(data: bytes) -> bytes:
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value.to_bytes(2, "little")
