"""What the drivers of foreign clients share: one JSON request a line in, one JSON outcome a line out.

A driver is a class with `open`, `close` and a method for each call that the client has. `failure` says what an error of
the client means; one that the driver itself raises ends it. Drivers neither check nor retry anything themselves.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Failure(Exception):
    """What the client reports: the kind of error, its words, and the code of an exception."""

    def __init__(self, kind: str, text: object = "", code: int | None = None) -> None:
        super().__init__(str(text))
        self.kind = kind
        self.code = code


class Driver:
    """The base of drivers."""

    name = ""
    serial = False
    ascii = False
    thread_safe = False
    """The client says that threads may share it."""

    def open(self, url: str, unit: int, timeout: float, **settings: Any) -> dict[str, Any]:
        """Makes a new client. Gives what is to be told about it."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes the client, if there is one."""

    def failure(self, error: Exception) -> Failure:
        """What an exception of the client means."""
        raise NotImplementedError


def address(url: str) -> tuple[str, int]:
    """Host and port of a TCP address."""
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 502)


def line(url: str) -> tuple[str, int, int, str, int]:
    """Path, speed, data bits, parity and stop bits of a line."""
    parts = urlsplit(url)
    speed, form = parse_qs(parts.query)["line"][0].split(" ")
    return parts.path, int(speed), int(form[0]), form[1], int(form[2])


def outcome(driver: Driver, request: dict[str, Any]) -> dict[str, Any]:
    """Has one call made."""
    arguments = dict(request)
    call = arguments.pop("call")
    began = time.monotonic()
    try:
        said = act(driver, call, arguments)
    except Failure as failure:
        said = {"error": failure.kind, "text": str(failure), "code": failure.code}
    except Exception as error:
        if Path(traceback.extract_tb(error.__traceback__)[-1].filename).parent == Path(__file__).parent:
            raise  # not the client's mistake, but the driver's
        failed = driver.failure(error)
        said = {"error": failed.kind, "text": f"{type(error).__name__}: {error}", "code": failed.code}
    return {"took": time.monotonic() - began, **said}


def act(driver: Driver, call: str, arguments: dict[str, Any]) -> dict[str, Any]:
    if call == "open":
        driver.close()
        for setting in ("first_transaction", "echo"):
            if setting in arguments and setting not in driver.open.__code__.co_varnames:
                raise Failure("unsupported", setting)
        return {"ok": True, "name": driver.name, **driver.open(**arguments)}
    if call == "close":
        driver.close()
        return {"ok": True}
    if call == "together":
        return {"outcomes": together(driver, arguments["calls"])}
    if call == "repeat":
        for _ in range(arguments["times"] - 1):
            outcome(driver, arguments["request"])
        return outcome(driver, arguments["request"])
    method = getattr(driver, call, None)
    if method is None:
        raise Failure("unsupported", call)
    result = method(**arguments)
    if call.startswith("read_"):
        return {"objects": result} if call == "read_device_id" else {"values": [int(value) for value in result]}
    return {"pdu": result} if call == "raw" else {"ok": True}


def together(driver: Driver, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not driver.thread_safe:
        raise Failure("unsupported", "threads must not share this client")
    outcomes: list[dict[str, Any]] = [{}] * len(calls)

    def one(place: int, call: dict[str, Any]) -> None:
        outcomes[place] = outcome(driver, call)

    threads = [threading.Thread(target=one, args=each) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def serve(driver: Driver) -> None:
    """Serves until standard input ends."""
    for text in sys.stdin:
        sys.stdout.write(json.dumps(outcome(driver, json.loads(text))) + "\n")
        sys.stdout.flush()
    driver.close()
