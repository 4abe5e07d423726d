"""Endpoints in Python: as device and as client, on virtual time and on real ports, and what becomes of broken ones."""

from __future__ import annotations

import gc
import re
import socket
from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fieldrig import Rig, handling
from fieldrig.endpoint import Bytes, Close, Closed, Driver, Event, Input, LineSignal, Opened, Send
from fieldrig.errors import (
    BenchError,
    EndpointStuck,
    ExpectationFailed,
    InconclusiveError,
    ObserverBlind,
    PortError,
    UnexpectedEvent,
    UsageError,
)
from fieldrig.stream import Stream

SECOND = 1_000_000_000


class Base:
    """Queues for what is to be done and told."""

    def __init__(self) -> None:
        self.actions: deque[Any] = deque()
        self.events: deque[Any] = deque()
        self.due: Any = None

    def handle(self, now: int, input: Input) -> None: ...
    def handle_timeout(self, now: int) -> None: ...
    def poll_timeout(self) -> Any:
        return self.due

    def poll_action(self) -> Any:
        return self.actions.popleft() if self.actions else None

    def poll_event(self) -> Any:
        return self.events.popleft() if self.events else None


class Beacon(Base):
    """A device: answers each line in capitals after 20 ms, and says every second that it is there."""

    def handle(self, now: int, input: Input) -> None:
        match input:
            case Opened():
                self.conn, self.due = input.conn, now + SECOND
            case Bytes(data=b"bye\n"):
                self.actions.append(Close(input.conn))
            case Bytes():
                self.actions.append(Send(input.conn, input.data.upper(), not_before=now + 20_000_000))
                self.events.append(Event("heard", {"text": input.data.decode().strip()}))
            case Closed():
                self.due = None
                self.events.append(Event("closed", {"why": input.why}))

    def handle_timeout(self, now: int) -> None:
        self.actions.append(Send(self.conn, b"here\n"))
        self.due += SECOND


class Asker(Base):
    """A client of it: a command, and events for what comes."""

    conn = 0

    def handle(self, now: int, input: Input) -> None:
        if isinstance(input, Opened):
            self.conn = input.conn
        elif isinstance(input, Bytes):
            self.events.append(Event("line", {"text": input.data.decode().strip()}))

    def ask(self, text: str) -> str:
        self.actions.append(Send(self.conn, text.encode() + b"\n"))
        return text.upper()


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig(clock="virtual", trace="counts") as rig:
        yield rig


class Watcher(Base):
    """Tells what happens on its line besides bytes."""

    def handle(self, now: int, input: Input) -> None:
        if isinstance(input, LineSignal):
            self.events.append(Event("signal", {"what": input.what}))


def test_what_happens_on_a_line_besides_bytes_reaches_the_endpoint(rig: Rig) -> None:
    rig.add_wire("line", "9600 8E1")
    with Stream("wire://line", rig=rig) as other, Driver("wire://line", Watcher(), rig=rig) as driver:
        rig.fault_wire("line", "break", count=1)
        sent = other.send(b"x")
        assert driver.expect("signal", what="break", after=sent, within="1s").at.earliest_ns > sent.at.latest_ns


def test_device_and_client_are_exact_on_virtual_time(rig: Rig) -> None:
    with Driver("memory://beacon", Beacon(), role="device", rig=rig) as device:
        with Driver("memory://beacon", Asker(), rig=rig) as client:
            asked = client.call(lambda endpoint, now: endpoint.ask("hello"))
            line = client.expect("line", text=asked.value, within="1s")
            assert 20_000_000 <= asked.until(line).earliest_ns <= asked.until(line).latest_ns < 20_001_000
            assert device.expect("heard", within="1s")["text"] == "hello"
            here = [client.expect("line", text="here", after=asked, within="1h") for _ in range(3)]
            assert [(later.at - first.at).latest_ns for first, later in pairwise(here)] == [SECOND] * 2
            client.expect_none("line", text="HELLO", after=here[0], for_="10s")
            with pytest.raises(UnexpectedEvent, match="line text='here' arrived"):
                client.expect_none("line", text="here", after=here[0], for_="10s")
            with pytest.raises(ExpectationFailed, match="line text='never' did not arrive"):
                client.expect("line", text="never", within="1s")
            client.call(lambda endpoint, now: endpoint.ask("bye"))
            assert device.expect("closed", within="1s")["why"] == "local"
            assert [event.kind for event in device.events()] == ["heard", "closed"]


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:0", "pty://?line=115200+8N1"])
def test_it_speaks_on_real_ports(url: str) -> None:
    with Driver(url, Beacon(), role="device") as device:
        with Driver(device.url, Asker()) as client:
            asked = client.call(lambda endpoint, now: endpoint.ask("hello"))
            line = client.expect("line", text="HELLO", after=asked, within="20s")
            assert asked.until(line).latest_ns >= 20_000_000
        assert device.expect("heard", within="20s").describe() == 'heard text="hello"'


def raising(self: Base, now: int, input: Input) -> None:
    if isinstance(input, Bytes):
        raise ValueError(f"no such tag {input.data!r}")


def standing(self: Base, now: int, input: Input) -> None:
    if isinstance(input, Bytes):
        self.due = now


def endless(self: Base, now: int, input: Input) -> None:
    if isinstance(input, Bytes):
        self.poll_action = lambda: Send(input.conn, b"x")  # type: ignore[method-assign]


def wordy(self: Base, now: int, input: Input) -> None:
    self.events.append("a text" if isinstance(input, Bytes) else Event("there"))


def late(self: Base, now: int, input: Input) -> None:
    self.due = 0.5 if isinstance(input, Bytes) else None


def strange(self: Base, now: int, input: Input) -> None:
    self.events.append(Event("seen", {"what": object()}))


def half(self: Base, now: int, input: Input) -> None:
    self.actions.append(Send(input.conn, b"x", not_before=now + 0.5))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("breaks", "why"),
    [
        (raising, r"its handle\(\) raised ValueError: no such tag b'x'\n(?s:.)*in raising"),
        (standing, r"its time-out does not advance: at \d+ ns poll_timeout\(\) asks for \d+ ns"),
        (endless, "its actions have no end"),
        (wordy, r"poll_event\(\) gave 'a text', which is no event"),
        (strange, "what it gave cannot be taken: .*object"),
        (half, r"poll_action\(\) gave Send\(.*, which is no action"),
        (late, r"poll_timeout\(\) gave 0.5, which is no instant"),
    ],
)
def test_a_broken_endpoint_is_stuck_and_whoever_asks_is_told(rig: Rig, breaks: Any, why: str) -> None:
    rig.add_wire("line")
    broken = type("Broken", (Base,), {"handle": breaks})()
    with (
        Stream("wire://line", rig=rig) as other,
        pytest.raises(EndpointStuck, match=f"the endpoint of .* is stuck: {why}"),
    ):
        with Driver("wire://line", broken, rig=rig) as driver:
            other.send(b"x")
            driver.expect("anything", within="1s")
    assert handling.take() is None, "who was told is not told again"


def test_what_ends_or_never_began_is_held_against_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with Driver(f"tcp://127.0.0.1:{listener.getsockname()[1]}", Asker()) as client:
            with pytest.raises(InconclusiveError, match="nothing ever came through this port"):
                client.expect("line", within="10ms")
            listener.accept()[0].close()
            with pytest.raises(BenchError, match="the port has ended: finished"):
                client.expect("line", within="100ms")
            with pytest.raises(ObserverBlind):
                client.expect_none("line", for_="1ms")


def test_a_device_listens_on_when_a_client_has_gone(rig: Rig) -> None:
    with Driver("memory://beacon", Beacon(), role="device", rig=rig) as device:
        Driver("memory://beacon", Asker(), rig=rig).close()
        device.expect_none("heard", for_="1s")
        with Driver("memory://beacon", Asker(), rig=rig) as client:
            client.call(lambda endpoint, now: endpoint.ask("hello"))
            assert device.expect("heard", within="1s")["text"] == "hello"


def test_of_a_broken_endpoint_that_nobody_asks_the_one_who_closes_it_is_told(rig: Rig) -> None:
    rig.add_wire("line")
    with Stream("wire://line", rig=rig) as other:
        driver = Driver("wire://line", type("Broken", (Base,), {"handle": raising})(), rig=rig, name="lamp")
        other.send(b"x")
        rig.sleep("1ms")
        assert handling.why_broken() is not None
        with pytest.raises(EndpointStuck, match=r"BENCH: the endpoint of lamp is stuck: its handle\(\) raised"):
            driver.close()
        driver.close()
        assert handling.take() is None


def test_what_a_command_raises_is_the_tests_own(rig: Rig) -> None:
    rig.add_wire("line")
    with Stream("wire://line", rig=rig) as other, Driver("wire://line", Asker(), rig=rig) as client:
        with pytest.raises(ZeroDivisionError):
            client.call(lambda endpoint, now: 1 // 0)
        with pytest.raises(UsageError, match="an endpoint cannot wait"):
            client.call(lambda endpoint, now: client.expect("line", within="1s"))
        client.call(lambda endpoint, now: endpoint.ask("on"))
        assert other.receive(3, within="1s").data == b"on\n"


def test_what_is_no_endpoint_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(UsageError, match="object is no endpoint: it has no method handle, handle_timeout"):
        Driver("tcp://127.0.0.1:1", object())  # type: ignore[type-var]
    with pytest.raises(UsageError, match="role= is"):
        Driver("tcp://127.0.0.1:1", Base(), role="server")  # type: ignore[arg-type]
    with pytest.raises(PortError):
        Driver("tcp://127.0.0.1:1", Base())
    gc.collect()


def test_the_example_of_the_documentation_runs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "protocols.md").read_text(encoding="utf-8")
    (example,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "class Lamp" in block)
    exec(compile(example, "docs/protocols.md", "exec"), {})
