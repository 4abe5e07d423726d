"""Blocks in one call until SIGINT, then shows that the same object still works: `interrupted.py CASE`."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from fieldrig import Rig, modbus, mqtt, serial, stream
from fieldrig.bench import BenchPlan
from fieldrig.errors import FieldrigError

Case = tuple[Callable[[], object], Callable[[], object]]
"""What blocks, and what must work afterwards."""

FIRST_LIGHT = Path(__file__).parents[3] / "examples" / "first_light"
CONNACK = bytes.fromhex("20 03 00 00 00")
PUBACK = bytes.fromhex("40 02 00 02")


KEPT: list[object] = []
"""What the other ends are made of: they live as long as the program."""


def equal(found: object, wanted: object) -> None:
    assert found == wanted, f"{found!r} is not {wanted!r}"


def serve(answer: Callable[[socket.socket], None]) -> int:
    """A server of one connection; the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=lambda: answer(listener.accept()[0]), daemon=True).start()
    return int(listener.getsockname()[1])


def modbus_tcp() -> Case:
    def answer(connection: socket.socket) -> None:
        """The first request is left unanswered."""
        connection.recv(260)
        request = connection.recv(260)
        connection.sendall(request[:4] + b"\x00\x05" + request[6:8] + b"\x02\x00\x2a")

    client = modbus.Client(f"tcp://127.0.0.1:{serve(answer)}", timeout="60s")
    return lambda: client.read_holding(0, 1), lambda: equal(client.read_holding(0, 1, timeout="10s").values, (42,))


def modbus_rtu() -> Case:
    master, slave = os.openpty()

    def answer() -> None:
        os.read(master, 8)
        while os.read(master, 8):  # what may be the late answer to the first is not believed, and asked for again
            adu = bytes([1, 3, 2, 0, 42])
            os.write(master, adu + modbus.crc16(adu).to_bytes(2, "little"))

    client = modbus.Client(f"rtu://{os.ttyname(slave)}?line=9600+8E1", timeout="60s")
    threading.Thread(target=answer, daemon=True).start()
    return lambda: client.read_holding(0, 1), lambda: equal(client.read_holding(0, 1, timeout="10s").values, (42,))


def queueing() -> Case:
    """Another thread is in a long call on the same client, and the main thread queues for it."""
    asked = threading.Event()

    def answer(connection: socket.socket) -> None:
        KEPT.append(connection)
        connection.recv(512)
        connection.sendall(CONNACK)
        connection.recv(512)
        asked.set()

    client = mqtt.Client(f"mqtt://127.0.0.1:{serve(answer)}", timeout="60s")

    def publish_unanswered() -> None:
        with contextlib.suppress(FieldrigError):
            client.publish("a", "b", qos=1)

    threading.Thread(target=publish_unanswered, daemon=True).start()
    asked.wait()
    return lambda: client.client_id, client.close  # closing does not queue


def publish() -> Case:
    def answer(connection: socket.socket) -> None:
        """The first PUBLISH is left without its acknowledgement."""
        connection.recv(512)
        connection.sendall(CONNACK)
        connection.recv(512)
        connection.recv(512)
        connection.sendall(PUBACK)

    client = mqtt.Client(f"mqtt://127.0.0.1:{serve(answer)}", timeout="60s")
    return lambda: client.publish("a", "first", qos=1), lambda: client.publish("a", "second", qos=1)


def watch() -> Case:
    broker = mqtt.Broker()
    client = mqtt.Client(broker.url)
    messages = client.watch("a/#")
    KEPT.append(broker)

    def works() -> None:
        sent = client.publish("a/b", "hello")
        equal(messages.expect(after=sent, within="10s").payload, b"hello")

    return lambda: messages.expect(within="60s"), works


def console(silent: bool = False) -> Case:
    def answer(connection: socket.socket) -> None:
        equal(connection.recv(64), b"ver\n")
        connection.sendall(b"fw 1.2\n")

    port = serial.Console(f"tcp://127.0.0.1:{serve(answer)}")

    def works() -> None:
        asked = port.send("ver")
        equal(port.expect(r"fw (\S+)\n", after=asked, within="10s")[1], "1.2")

    block = port.expect_none if silent else port.expect
    return (lambda: block("never", for_="60s") if silent else block("never", within="60s")), works


def receive() -> Case:
    def answer(connection: socket.socket) -> None:
        connection.sendall(connection.recv(64))

    raw = stream.Stream(f"tcp://127.0.0.1:{serve(answer)}")

    def works() -> None:
        raw.send(b"echo")
        equal(raw.receive(4, within="10s").data, b"echo")

    return lambda: raw.receive(4, within="60s"), works


def sleep() -> Case:
    rig = Rig()
    return lambda: rig.sleep("60s"), lambda: rig.sleep("1ms")


def connect() -> Case:
    """A listener whose queue is full: the kernel drops what comes, as an address does at which nobody is."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    fill = [socket.socket() for _ in range(3)]
    for one in fill:
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", port))
    KEPT.extend([listener, *fill])

    def works() -> None:
        with modbus.Device(holding={0: [42]}) as device, modbus.Client(device.url) as client:
            equal(client.read_holding(0, 1).values, (42,))

    return lambda: modbus.Client(f"tcp://127.0.0.1:{port}"), works


def bench(folder: Path, profile: str, extra: str = "") -> Case:
    """A device whose power is off for long."""
    text = (FIRST_LIGHT / "bench.toml").read_text()
    if profile == "real":
        device, broker, pty = modbus.Device(input={0: [2300]}), mqtt.Broker(), serial.Console("pty://?line=9600+8N1")
        KEPT.extend([device, broker, pty])
        text = text.replace('"modbus-rtu"', '"modbus-tcp"').replace('line = "9600 8E1"\n', "")
        reals = {
            "modbus": f'port = "{device.url}"',
            "mqtt": f'broker = "{broker.url}"',
            "console": f'port = "{pty.url}"',
        }
        for link, real in reals.items():
            text = text.replace(f"[link.{link}]\n", f"[link.{link}]\nreal = {{ {real} }}\n")
    (folder / "meter.toml").write_text((FIRST_LIGHT / "meter.toml").read_text())
    (folder / "bench.toml").write_text(text + extra)
    opened = BenchPlan.load(folder / "bench.toml", [profile]).open(out=folder / "run")
    KEPT.append(opened)
    meter = opened.device("meter")
    block = meter.power.off if extra else lambda: meter.power.cycle(off="60s")

    def works() -> None:
        meter.power.on()
        meter.power.wait_until_up()
        equal(round(meter.modbus.read("voltage").value), 230)

    return block, works


def power() -> Case:
    return bench(Path(sys.argv[2]), "emulated")


def power_command() -> Case:
    command = "sh -c 'test {action} = on || exec sleep 60'"
    return bench(Path(sys.argv[2]), "real", f'power = {{ command = "{command}" }}\n')


CASES: dict[str, Callable[[], Case]] = {
    "modbus-tcp": modbus_tcp,
    "modbus-rtu": modbus_rtu,
    "queueing": queueing,
    "publish": publish,
    "watch": watch,
    "console": console,
    "console-silence": lambda: console(silent=True),
    "receive": receive,
    "sleep": sleep,
    "connect": connect,
    "power": power,
    "power-command": power_command,
}


def tell_when_blocked() -> None:
    """Prints `blocked` once the main thread was seen to fall asleep in its call: again and again, or once
    and for long."""
    status = Path(f"/proc/self/task/{os.getpid()}/status")

    def slept() -> tuple[int, bool]:
        text = status.read_text()
        return int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0]), "\nState:\tS" in text

    begun.wait()
    last = slept()
    before = last[0]
    still = 0
    while last[0] < before + 3 and still < 100:
        time.sleep(0.002)  # the kernel has no event for this; how long it takes decides nothing
        now = slept()
        still = still + 1 if now == last and now[1] else 0
        last = now
    print("blocked", flush=True)


if __name__ == "__main__":
    # A shell starts what runs in the background with SIGINT ignored, and Python then leaves it so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    block, works = CASES[sys.argv[1]]()
    begun = threading.Event()
    threading.Thread(target=tell_when_blocked, daemon=True).start()
    try:
        begun.set()
        block()
    except KeyboardInterrupt:
        print("interrupted", time.monotonic(), flush=True)
        works()
        print("works", flush=True)
