"""What a bench file says about consoles: one test, on an emulated device and on a real one that is awkward."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig import BenchPlan, Rig
from fieldrig.errors import BenchFileError, UsageError
from fieldrig.serial import Console
from fieldrig.stream import Stream

MODEL = """\
[model]
name = "box"
[face.console]
prompt = "box> "
[[command]]
match = "ver"
reply = "fw 1.4.2"
"""

BENCH = """\
[bench]
name = "rack"
[link.console]
protocol = "console"
line = "9600 8N1"
client = { ansi = "strip", prompt = "box> ", ending = "cr", pace = "1ms", keep = 65536, spill = 0 }
real = { port = "tcp://127.0.0.1:PORT", belongs_to = "dut" }
[dut.box]
model = "box.toml"
links = { console = {} }
"""


@pytest.fixture
def awkward() -> Iterator[tuple[int, list[bytes]]]:
    """A device with colours, in whose eyes only CR ends a line; it forgets what comes while it is busy with a byte."""
    pieces: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"\x1b[1mbox> \x1b[0m")
            line = b""
            while came := connection.recv(4096):
                pieces.append(came)
                line += came
                if line.endswith(b"\r"):
                    connection.sendall(line[:-1] + b"\r\n\x1b[32mfw\x1b[0m 1.4.2\r\n\x1b[1mbox> \x1b[0m")
                    line = b""

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], pieces
    thread.join(20)


def firmware_of(plan: BenchPlan, folder: Path) -> str:
    """The test: it knows nothing of colours, line ends and small buffers."""
    with plan.open(folder) as bench:
        ran = bench.device("box").console.run("ver", shell="prompt", within="20s")
        return str(ran.output)


def test_the_same_test_runs_on_both_profiles(tmp_path: Path, awkward: tuple[int, list[bytes]]) -> None:
    port, pieces = awkward
    (tmp_path / "box.toml").write_text(MODEL)
    (tmp_path / "bench.toml").write_text(BENCH.replace("PORT", str(port)))
    assert firmware_of(BenchPlan.load(tmp_path / "bench.toml"), tmp_path / "emulated") == "fw 1.4.2\n"
    assert firmware_of(BenchPlan.load(tmp_path / "bench.toml", ["real"]), tmp_path / "real") == "fw 1.4.2\n"
    assert b"".join(pieces) == b"ver\r"


def test_a_link_of_the_devices_own_says_it_with_the_device(tmp_path: Path) -> None:
    own = '[dut.box]\nmodel = "box.toml"\nlinks = { console = { line = "9600 8N1", client = { ending = "crlf" } } }\n'
    (tmp_path / "box.toml").write_text(MODEL)
    (tmp_path / "bench.toml").write_text('[bench]\nname = "rack"\nclock = "virtual"\n' + own)
    with BenchPlan.load(tmp_path / "bench.toml").open(tmp_path / "run") as bench:
        assert bench.device("box").console.send("ver").data == b"ver\r\n"
        assert bench.device("box").console.send("ver", end="").data == b"ver"
    (tmp_path / "bench.toml").write_text('[bench]\nname = "rack"\n' + own.replace("crlf", "cr-lf"))
    with pytest.raises(BenchFileError, match=r'`ending` in .*: it is one of "lf", "crlf", "cr", not "cr-lf"'):
        BenchPlan.load(tmp_path / "bench.toml")


def test_every_byte_is_paced_unless_the_call_says_otherwise() -> None:
    with Rig(clock="virtual", trace="counts") as rig:
        rig.add_wire("console")
        with Stream("wire://console", rig=rig) as device, Console("wire://console", rig=rig, pace="3ms") as console:
            for pace, took in ((None, 9_000_000), ("1ms", 3_000_000), ("0ms", 0)):
                sent = console.send("abc", pace=pace)
                assert sent.done.latest_ns - sent.at.earliest_ns == took
            assert device.receive(12, within="1s").data == b"abc\n" * 3
            for ways in ({}, {"pace": "1ms"}):
                with pytest.raises(UsageError, match="there is nothing to send"):
                    console.send("", end="", **ways)  # type: ignore[arg-type]


@pytest.mark.parametrize(("argument", "value"), [("ending", "lfcr"), ("pace", 3), ("pace", "3 bytes")])
def test_a_wrong_argument_is_refused(argument: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"{argument}=|bytes"):
        Console("memory://nobody", **{argument: value})  # type: ignore[arg-type]
