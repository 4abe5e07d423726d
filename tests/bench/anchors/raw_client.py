"""Anchor of the Python rows: what a plain blocking socket does with prebuilt bytes, transaction id checked."""

from __future__ import annotations

import socket
from collections.abc import Callable

ANSWER = 29


def reader(port: int) -> Callable[[], None]:
    """A function that makes one read of ten holding registers of unit 1."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tail = b"\x00\x00\x00\x06\x01\x03\x00\x00\x00\x0a"
    transaction = 0

    def read() -> None:
        nonlocal transaction
        transaction = (transaction + 1) & 0xFFFF
        head = transaction.to_bytes(2, "big")
        connection.sendall(head + tail)
        answer = connection.recv(256)
        while len(answer) < ANSWER:
            more = connection.recv(256)
            if not more:
                raise ConnectionError("closed")
            answer += more
        if answer[:2] != head or answer[7] != 3:
            raise ValueError(f"not the answer to transaction {transaction}: {answer.hex(' ')}")

    return read
