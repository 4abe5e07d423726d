"""The driver of fieldrig's own client, and an example of one.

As a program: `python -m fieldrig.suites.modbus_client.own`; as a Python object: `OwnDriver()`.
"""

from __future__ import annotations

import inspect
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from fieldrig.errors import (
    ConnectionLost,
    ExceptionAnswer,
    FieldrigError,
    InconclusiveError,
    NoAnswer,
    PortError,
    PortLost,
    ProtocolError,
    Unanswered,
    Untrusted,
    UsageError,
)

if TYPE_CHECKING:
    from fieldrig.modbus import Answer, Client

KINDS: tuple[tuple[type[FieldrigError], str], ...] = (
    (ExceptionAnswer, "exception"),
    (ProtocolError, "malformed"),
    (NoAnswer, "timeout"),
    (Unanswered, "timeout"),
    (ConnectionLost, "lost"),
    (PortLost, "lost"),
    (PortError, "refused"),
    (Untrusted, "refused"),
    (UsageError, "refused"),
    (InconclusiveError, "malformed"),  # something came that is no answer, on a line that was never seen to work
)


class OwnDriver:
    """Drives `fieldrig.modbus.Client`.

    Args:
        options: further arguments of the client.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._client: Client | None = None
        self._tcp = True

    def __call__(self, request: dict[str, Any]) -> Mapping[str, Any]:
        arguments = dict(request)
        call = arguments.pop("call")
        if call == "open":
            return _told(lambda: self._open(**arguments))
        if call == "close":
            self._close()
            return {"ok": True}
        if call == "together":
            return {"outcomes": self._together(arguments["calls"])}
        if call == "repeat":
            return _told(lambda: self._repeat(arguments["request"], arguments["times"]))
        return _told(lambda: self._call(call, arguments))

    def _open(
        self, url: str, unit: int, timeout: float, rig: Any = None, gap_tolerance: float = 0.0, **settings: Any
    ) -> Mapping[str, Any]:
        from fieldrig.modbus import Client

        settings.pop("retries")  # there are none unless one asks for them
        files: dict[str, str] = {name: settings.pop(name) for name in ("ca", "cert", "key") if name in settings}
        if files:
            url = f"{url}?{urlencode(files, quote_via=quote, safe='/')}"
        options = {**self._options}
        if "first_transaction" in settings:
            options["transactions"] = f"sequential:{settings.pop('first_transaction')}"
        if "echo" in settings:
            options["local_echo"] = settings.pop("echo")
        unknown = [*settings, *(options.keys() - inspect.signature(Client).parameters.keys())]
        if unknown:
            return {"error": "unsupported", "text": ", ".join(unknown)}
        self._close()
        self._tcp = url.startswith(("tcp:", "tls:"))
        limit = f"{timeout * 1000:g}ms"
        self._client = Client(url, unit=unit, timeout=limit, rig=rig, belongs_to="dut", **options)
        return {"ok": True, "name": "fieldrig", "timeout": timeout, "retries": 0}

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _together(self, calls: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
        read_many = getattr(self._client, "read_many", None)
        if read_many is not None and self._tcp:
            return self._pipeline(read_many, calls)
        outcomes: list[Mapping[str, Any]] = [{"error": "other"}] * len(calls)

        def one(place: int, call: dict[str, Any]) -> None:
            outcomes[place] = self(call)

        threads = [threading.Thread(target=one, args=each) for each in enumerate(calls)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return outcomes

    @staticmethod
    def _pipeline(read_many: Callable[..., Any], calls: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
        """Reads of holding registers, all in flight at the same time."""
        blocks = [("holding", call["address"], call["count"]) for call in calls]
        return [
            _failed(answer) if isinstance(answer, FieldrigError) else {"values": list(answer.values)}
            for answer in read_many(blocks, unit=calls[0]["unit"], raise_first=False)
        ]

    def _repeat(self, request: dict[str, Any], times: int) -> Mapping[str, Any]:
        assert self._client is not None
        address, count = request["address"], request["count"]
        for _ in range(times - 1):
            self._client.read_holding(address, count)
        return self._call(request["call"], {"address": address, "count": count})

    def _call(self, call: str, arguments: dict[str, Any]) -> Mapping[str, Any]:
        client = self._client
        assert client is not None
        if call == "raw":
            return {"pdu": client.raw_pdu(bytes.fromhex(arguments["pdu"]), unit=arguments["unit"]).pdu.hex()}
        if not hasattr(client, call):
            return {"error": "unsupported", "text": call}
        answer: Answer = getattr(client, call)(**arguments)
        if call == "read_device_id":
            return {"objects": {str(number): value.hex() for number, value in answer.fields["objects"].items()}}
        return {"values": list(answer.values)} if call.startswith("read_") else {"ok": True}


def _told(call: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """What came of a call, and how long it took."""
    began = time.monotonic()
    outcome: dict[str, Any]
    try:
        outcome = dict(call())
    except FieldrigError as error:
        outcome = _failed(error)
    return {"took": time.monotonic() - began, **outcome}


def _failed(error: FieldrigError) -> dict[str, Any]:
    """What the client reports."""
    kind = next((name for each, name in KINDS if isinstance(error, each)), "other")
    code = {"code": error.code} if isinstance(error, ExceptionAnswer) else {}
    return {"error": kind, "text": error.message, **code}


def main() -> None:
    """Reads requests from standard input and writes outcomes to standard output, one JSON object a line."""
    driver = OwnDriver()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(dict(driver(json.loads(line)))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
