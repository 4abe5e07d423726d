"""Blocks in one call until SIGINT, then shows that the same object still works: `interrupted.py modbus|console|mqtt`"""

from __future__ import annotations

import socket
import sys
import threading
import time

from fieldrig import mqtt, serial
from fieldrig.modbus import Client


def silent_once(listener: socket.socket) -> None:
    """A Modbus server that leaves its first request unanswered."""
    connection, _ = listener.accept()
    connection.recv(260)
    print("blocked", flush=True)
    request = connection.recv(260)
    connection.sendall(request[:4] + b"\x00\x05" + request[6:8] + b"\x02\x00\x2a")


def modbus_read() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=silent_once, args=(listener,), daemon=True).start()
    client = Client(f"tcp://127.0.0.1:{listener.getsockname()[1]}", timeout="60s")
    try:
        client.read_holding(0, 1)
    except KeyboardInterrupt:
        print("interrupted", time.monotonic(), flush=True)
    assert client.read_holding(0, 1, timeout="10s").values == (42,)


def console_expect() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    console = serial.Console(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
    connection, _ = listener.accept()
    try:
        print("blocked", flush=True)
        console.expect("boot ok", within="60s")
    except KeyboardInterrupt:
        print("interrupted", time.monotonic(), flush=True)
    asked = console.send("ver")
    assert connection.recv(64) == b"ver\n"
    connection.sendall(b"fw 1.2\n")
    assert console.expect(r"fw (\S+)\n", after=asked, within="10s")[1] == "1.2"


def mqtt_expect() -> None:
    with mqtt.Broker() as broker, mqtt.Client(broker.url) as client, client.watch("a/#") as watch:
        try:
            print("blocked", flush=True)
            watch.expect(within="60s")
        except KeyboardInterrupt:
            print("interrupted", time.monotonic(), flush=True)
        sent = client.publish("a/b", "hello")
        assert watch.expect(after=sent, within="10s").payload == b"hello"


{"modbus": modbus_read, "console": console_expect, "mqtt": mqtt_expect}[sys.argv[1]]()
print("works", flush=True)
