"""Anchor of the Python rows: what a plain blocking socket does with prebuilt bytes, transaction ids checked."""

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


def pipeline(port: int, depth: int) -> Callable[[], None]:
    """The same `depth` times: all requests in one write, then all answers."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tail = b"\x00\x00\x00\x06\x01\x03\x00\x00\x00\x0a"
    transaction = 0

    def read() -> None:
        nonlocal transaction
        heads = [(transaction + number & 0xFFFF).to_bytes(2, "big") for number in range(1, depth + 1)]
        transaction += depth
        connection.sendall(b"".join([head + tail for head in heads]))
        answers = connection.recv(4096)
        while len(answers) < depth * ANSWER:
            more = connection.recv(4096)
            if not more:
                raise ConnectionError("closed")
            answers += more
        for number, head in enumerate(heads):
            answer = answers[number * ANSWER : (number + 1) * ANSWER]
            if answer[:2] != head or answer[7] != 3:
                raise ValueError(f"not the answer to transaction {head.hex()}: {answer.hex(' ')}")

    return read
