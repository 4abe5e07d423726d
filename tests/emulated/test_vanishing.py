"""A port that vanishes in mid-test: the bench is to blame, at once, and nothing is left behind.

The owner of each port is this test, so that it can take it away while a call waits on it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from fieldrig import modbus, mqtt
from fieldrig.bench import BenchPlan
from fieldrig.errors import BenchError, ConnectionLost, DutError, ObserverBlind, PortError, PortLost
from fieldrig.serial import Console
from fieldrig.stream import Stream
from tests.leftovers import nothing_left

LINE = "line=115200+8N1"
FIRST_LIGHT = Path(__file__).parents[2] / "examples" / "first_light"


class Pty:
    """A serial port whose other end is the test's."""

    def __init__(self) -> None:
        self.master, slave = os.openpty()
        self.path = os.ttyname(slave)
        os.close(slave)

    def wait_for_bytes(self) -> None:
        """Returns when something was sent to it."""
        os.read(self.master, 256)

    def vanish(self) -> None:
        """As when the adapter is pulled out."""
        os.close(self.master)


class Peer:
    """A server of one connection; ends it orderly, or as a process does that is killed with data unread."""

    def __init__(self, family: int, address: Any, reset: bool) -> None:
        self.listener = socket.socket(family)
        self.listener.bind(address)
        self.listener.listen()
        self.address = self.listener.getsockname()
        self.reset = reset
        self.connection: socket.socket | None = None

    def wait_for_bytes(self) -> None:
        """Returns when something was sent to it."""
        self.connection, _ = self.listener.accept()
        self.connection.recv(256)

    def vanish(self) -> None:
        """Everything is gone."""
        self.listener.close()
        if self.connection is not None:
            if self.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


@pytest.fixture(autouse=True)
def leaves_nothing() -> Iterator[None]:
    """Every test of this file gives back all it opened."""
    with nothing_left():
        yield


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Closes at the end what a test entered."""
    with ExitStack() as stack:
        yield stack


def soon(action: Callable[[], object], opened: ExitStack) -> None:
    """Does it on another thread."""
    thread = threading.Thread(target=action, name="vanishes")
    thread.start()
    opened.callback(thread.join)


def once_asked(peer: Pty | Peer, opened: ExitStack) -> None:
    """The peer vanishes as soon as it is asked something, while the answer is waited for."""

    def act() -> None:
        peer.wait_for_bytes()
        peer.vanish()

    soon(act, opened)


def tcp(reset: bool = False) -> Peer:
    return Peer(socket.AF_INET, ("127.0.0.1", 0), reset)


@pytest.mark.parametrize("reset", [False, True], ids=["finished", "reset"])
def test_a_tcp_server_that_vanishes_under_a_modbus_call(opened: ExitStack, reset: bool) -> None:
    peer = tcp(reset)
    client = opened.enter_context(modbus.Client(f"tcp://127.0.0.1:{peer.address[1]}", timeout="30s"))
    once_asked(peer, opened)
    with pytest.raises(PortLost, match=rf"^BENCH: .*127\.0\.0\.1:{peer.address[1]}"):
        client.read_holding(0, 1)
    # The client connects again; nobody listens any more.
    with pytest.raises(PortError, match=r"^BENCH: "):
        client.read_holding(0, 1)


def test_a_serial_port_that_vanishes_under_a_modbus_call(opened: ExitStack) -> None:
    peer = Pty()
    client = opened.enter_context(modbus.Client(f"rtu://{peer.path}?{LINE}", timeout="30s"))
    once_asked(peer, opened)
    with pytest.raises(PortLost, match=rf"^BENCH: .*{peer.path}"):
        client.read_holding(0, 1)
    with pytest.raises(PortLost, match=r"^BENCH: "):
        client.read_holding(0, 1)


def test_a_port_of_the_device_is_the_affair_of_the_device(opened: ExitStack) -> None:
    peer = Pty()
    client = opened.enter_context(modbus.Client(f"rtu://{peer.path}?{LINE}", timeout="30s", belongs_to="dut"))
    once_asked(peer, opened)
    with pytest.raises(ConnectionLost, match=rf"^DUT: .*{peer.path}"):
        client.read_holding(0, 1)


@pytest.fixture(params=["tcp", "unix", "pty"])
def console_peer(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Pty | Peer, str]:
    """The far end of a console, and its URL."""
    if request.param == "pty":
        pty = Pty()
        return pty, f"serial://{pty.path}?{LINE}"
    if request.param == "unix":
        return Peer(socket.AF_UNIX, str(tmp_path / "socket"), False), f"unix://{tmp_path / 'socket'}"
    peer = tcp()
    return peer, f"tcp://127.0.0.1:{peer.address[1]}"


def test_a_console_that_vanishes_under_an_expect(opened: ExitStack, console_peer: tuple[Pty | Peer, str]) -> None:
    peer, url = console_peer
    console = opened.enter_context(Console(url))
    once_asked(peer, opened)
    console.send("ver")
    for _ in range(2):
        with pytest.raises(PortLost, match=r"^BENCH: "):
            console.expect("never", within="30s")


def test_a_console_that_vanishes_is_no_witness(opened: ExitStack, console_peer: tuple[Pty | Peer, str]) -> None:
    peer, url = console_peer
    console = opened.enter_context(Console(url))
    once_asked(peer, opened)
    sent = console.send("ver")
    with pytest.raises(ObserverBlind, match=r"^INCONCLUSIVE: "):
        console.expect_none("panic", after=sent, for_="30s")


def test_what_a_stream_received_before_it_vanished_is_kept(opened: ExitStack) -> None:
    """A pty is no case for this: when its owner goes, the kernel itself throws away what was not read."""
    peer = tcp()
    stream = opened.enter_context(Stream(f"tcp://127.0.0.1:{peer.address[1]}"))

    def act() -> None:
        peer.wait_for_bytes()
        assert peer.connection is not None
        peer.connection.sendall(b"last words")
        peer.vanish()

    soon(act, opened)
    stream.send(b"?")
    received = stream.receive(until=100, within="30s")
    assert received.data == b"last words"
    assert received.closed is not None


LAST_WORDS = """
import sys
from fieldrig.stimulus import Program
from fieldrig.stream import Stream
with Stream(sys.argv[1]) as stream:
    stream.begin(Program().send(bytes(20_000_000)))
    if sys.argv[2] == "half":
        stream.close("half")
    print("sends", flush=True)
    sys.stdin.readline()
    received = stream.receive(100_000, within="30s")
    print(len(received.data), set(received.data), received.closed)
"""


@pytest.mark.parametrize("ours", ["half", "open"])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["tcp", "unix"])
def test_what_came_before_the_end_is_read_though_our_output_fails(
    opened: ExitStack, tmp_path: Path, family: int, ours: str
) -> None:
    """Answer and end are there at once, as the process was stopped, and who breaks it off did not read all of ours."""
    address: Any = ("127.0.0.1", 0) if family == socket.AF_INET else str(tmp_path / "socket")
    peer = Peer(family, address, reset=False)
    url = f"tcp://127.0.0.1:{peer.address[1]}" if family == socket.AF_INET else f"unix://{address}"
    command = [sys.executable, "-c", LAST_WORDS, url, ours]
    child = opened.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    opened.callback(child.kill)
    peer.wait_for_bytes()
    assert child.stdout is not None and child.stdout.readline() == "sends\n"
    child.send_signal(signal.SIGSTOP)
    os.waitpid(child.pid, os.WUNTRACED)
    assert peer.connection is not None
    peer.connection.sendall(b"!" * 10_000)
    peer.vanish()
    child.send_signal(signal.SIGCONT)
    told, _ = child.communicate("\n", timeout=30)
    assert told == f"10000 {{{ord('!')}}} reset\n"


@pytest.mark.parametrize("call", ["watch", "publish"])
def test_an_embedded_broker_that_is_closed(opened: ExitStack, call: str) -> None:
    broker = opened.enter_context(mqtt.Broker())
    client = opened.enter_context(mqtt.Client(broker.url))
    with suppress(BenchError), client.watch("a/#", qos=1) as watch:
        if call == "watch":
            soon(broker.close, opened)
            with pytest.raises(PortLost, match=r"^BENCH: "):
                watch.expect(within="30s")
        broker.close()
        with pytest.raises(PortLost, match=r"^BENCH: "):
            client.publish("a/b", "x", qos=1)
    with pytest.raises(PortError, match=r"^BENCH: "):
        mqtt.Client(broker.url)


def test_a_broker_that_vanishes_under_an_acknowledged_publish(opened: ExitStack) -> None:
    peer = tcp()

    def act() -> None:
        peer.wait_for_bytes()
        assert peer.connection is not None
        peer.connection.sendall(b"\x20\x03\x00\x00\x00")
        peer.connection.recv(256)
        peer.vanish()

    soon(act, opened)
    client = opened.enter_context(mqtt.Client(f"mqtt://127.0.0.1:{peer.address[1]}", timeout="30s"))
    with pytest.raises(PortLost, match=r"^BENCH: "):
        client.publish("a/b", "x", qos=1)


def real_bench(folder: Path, pty: Pty, broker: mqtt.Broker, device: modbus.Device) -> Path:
    """The first-light bench, with ports of this test as its profile `real`."""
    text = (FIRST_LIGHT / "bench.toml").read_text()
    text = text.replace('"modbus-rtu"', '"modbus-tcp"').replace('line = "9600 8E1"\n', "")
    reals = {
        "modbus": f'real = {{ port = "{device.url}" }}',
        "mqtt": f'real = {{ broker = "{broker.url}" }}',
        "console": f'real = {{ port = "{pty.path}", belongs_to = "bench" }}',
    }
    for link, real in reals.items():
        text = text.replace(f"[link.{link}]\n", f"[link.{link}]\n{real}\n")
    (folder / "meter.toml").write_text((FIRST_LIGHT / "meter.toml").read_text())
    (folder / "bench.toml").write_text(text)
    return folder / "bench.toml"


def test_every_port_of_a_whole_bench_vanishes(opened: ExitStack, tmp_path: Path) -> None:
    pty, broker = Pty(), opened.enter_context(mqtt.Broker())
    device = opened.enter_context(modbus.Device(input={0: [2300]}))
    plan = BenchPlan.load(real_bench(tmp_path, pty, broker, device), ["real"])
    bench = opened.enter_context(plan.open(out=tmp_path / "run"))
    meter = bench.device("meter")
    assert meter.modbus.read("voltage").value == pytest.approx(230.0)
    soon(pty.vanish, opened)
    with pytest.raises(PortLost, match=r"^BENCH: "):
        meter.console.expect("never", within="30s")
    broker.close()
    with pytest.raises(PortLost, match=r"^BENCH: "):
        meter.mqtt.publish("{base}/x", "y", qos=1)
    device.close()
    # Either the request meets the end of the connection, or a new connection is refused already.
    with pytest.raises((PortLost, PortError), match=r"^BENCH: "):
        meter.modbus.read("voltage")
    bench.close()
    records = [json.loads(line) for line in (tmp_path / "run" / "run.jsonl").read_text().splitlines()]
    told = [record["kind"] for record in records if record["fields"].get("node", "").startswith("meter.")]
    assert {"port.lost", "modbus.disconnected", "mqtt.lost"} <= set(told), told


def test_an_emulated_bench_leaves_nothing(tmp_path: Path) -> None:
    for turn in range(3):
        with BenchPlan.load(FIRST_LIGHT / "bench.toml").open(out=tmp_path / str(turn)) as bench:
            bench.device("meter").power.cycle(off="10ms")


def test_under_pytest_the_text_begins_with_bench(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        textwrap.dedent("""
        import os
        from fieldrig.serial import Console

        def test_it():
            master, slave = os.openpty()
            path = os.ttyname(slave)
            os.close(slave)
            with Console(f"serial://{path}?line=9600+8N1") as console:
                os.close(master)
                console.expect("never", within="30s")
        """)
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert ended.returncode == 1
    assert "\nBENCH: " in ended.stdout
    assert DutError.blame + ":" not in ended.stdout
