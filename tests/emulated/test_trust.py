"""What a long run depends on: Ctrl-C, threads, interpreter exit, fork; in a process of its own where it must be."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from fieldrig import modbus, mqtt
from fieldrig.errors import ForkError, PortLost, Reentered, Stopped
from fieldrig.serial import Console
from tests.leftovers import held, nothing_left

PROGRAMS = Path(__file__).parent / "programs"


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Starts a program of this folder."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(PROGRAMS / program), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def line_of(process: subprocess.Popen[str], within: float = 30.0) -> str:
    """The next line a program prints."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], within)
    assert ready, f"the program printed nothing for {within} s"
    return process.stdout.readline().strip()


CALLS = [
    *("modbus-tcp", "modbus-rtu", "publish", "watch", "console", "console-silence", "receive", "sleep", "connect"),
    *("power", "power-command", "queueing"),
]


@pytest.mark.parametrize("call", CALLS)
def test_ctrl_c_ends_a_blocking_call_and_the_port_works_afterwards(call: str, tmp_path: Path) -> None:
    process = start("interrupted.py", call, str(tmp_path))
    try:
        assert line_of(process) == "blocked"
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        word, at = line_of(process).split()
        assert word == "interrupted"
        late = float(at) - sent
        print(f"{call}: KeyboardInterrupt after {late * 1000:.1f} ms")
        assert late < 1.0
        assert line_of(process) == "works"
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:0", "pty://?line=115200+8N1"], ids=["tcp", "rtu"])
def test_eight_threads_on_one_client_each_get_their_own_answer(url: str) -> None:
    turns = 100 if url.startswith("tcp") else 5
    with modbus.Device(url, holding={0: list(range(1000, 1064))}) as device, modbus.Client(device.url) as client:

        def work(thread: int) -> None:
            for turn in range(turns):
                address = (thread * 7 + turn) % 60
                assert client.read_holding(address, 4).values == tuple(range(1000 + address, 1004 + address))

        with ThreadPoolExecutor(8) as threads:
            for future in [threads.submit(work, thread) for thread in range(8)]:
                future.result(60)


def test_two_threads_on_one_console_each_find_what_they_wait_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        console = Console(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        with console, listener.accept()[0] as device, ThreadPoolExecutor(2) as threads:
            began = console.send("go")
            found = [threads.submit(console.expect, word, after=began, within="30s") for word in ("red", "blue")]
            assert device.recv(8) == b"go\n"
            device.sendall(b"blue, then re")
            device.sendall(b"d\n")
            assert [future.result(60).text for future in found] == ["red", "blue"]


@pytest.mark.parametrize("kind", ["modbus", "console", "mqtt"])
def test_closing_tells_a_thread_that_waits(kind: str) -> None:
    with ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        waiting: Callable[[], object]
        if kind == "modbus":
            client = opened.enter_context(modbus.Client(f"tcp://{place}", timeout="60s"))
            close, waiting = client.close, lambda: client.read_holding(0, 1)
        elif kind == "console":
            console = opened.enter_context(Console(f"tcp://{place}"))
            close, waiting = console.close, lambda: console.expect("never", within="60s")
        else:
            broker = opened.enter_context(mqtt.Broker())
            session = opened.enter_context(mqtt.Client(broker.url))
            watch = session.watch("#")
            close, waiting = session.close, lambda: watch.expect(within="60s")
        with ThreadPoolExecutor(1) as threads:
            future = threads.submit(waiting)
            if kind == "modbus":
                opened.enter_context(listener.accept()[0]).recv(260)
            close()
            with pytest.raises((Stopped, PortLost)):
                future.result(30)


def test_fifty_interpreters_exit_with_live_threads() -> None:
    ways = {"end": 0, "raise": 1, "exit": 3, "raise-at-exit": 0, "collected": 0}

    def one(way: str) -> tuple[str, int, str]:
        process = start("leaves_everything_open.py", way)
        out, err = process.communicate(timeout=60)
        return way, process.returncode, out if way.startswith("raise") else out + err

    with ThreadPoolExecutor(4) as runners:
        outcomes = list(runners.map(one, list(ways) * 10))
    assert [outcome for outcome in outcomes if outcome != (outcome[0], ways[outcome[0]], "leaving\n")] == []


def test_sys_exit_in_a_test_ends_pytest_in_order(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\nfrom fieldrig import modbus\n"
        "def test_it():\n    device = modbus.Device()\n    modbus.Client(device.url)\n    sys.exit(9)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (1, ""), ended.stdout
    assert "SystemExit: 9" in ended.stdout


def test_a_fork_with_open_ports_is_refused_in_the_child_and_harmless_to_the_parent() -> None:
    with modbus.Device(holding={0: [7]}) as device, modbus.Client(device.url) as client:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                client.read_holding(0, 1)
            except ForkError:
                # What is made here works here.
                with modbus.Device(holding={0: [8]}) as own, modbus.Client(own.url) as mine:
                    code = 0 if mine.read_holding(0, 1).values == (8,) else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert client.read_holding(0, 1).values == (7,)


def test_a_child_that_ends_in_order_or_was_spawned_does_not_disturb_the_parent() -> None:
    process = start("has_children.py")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "forked: ForkError\nspawned: 8\nparent: 7\n", "")


def test_no_thread_survives_close() -> None:
    def use() -> None:
        before = held()
        with modbus.Device(holding={0: [1]}) as device, modbus.Client(device.url) as client:
            client.read_holding(0, 1)
            assert any(name.startswith("thread fieldrig") for name in held() - before)

    with nothing_left():
        use()


def test_a_call_from_a_signal_handler_into_the_same_client_is_refused() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, modbus.Client(f"tcp://127.0.0.1:{listener.getsockname()[1]}", timeout="60s") as client:
        before = signal.signal(signal.SIGALRM, lambda *_: client.read_holding(0, 1))
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try:
            with pytest.raises(Reentered, match="USAGE: "):
                client.read_holding(0, 1)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def test_a_sub_interpreter_is_refused() -> None:
    interpreters = pytest.importorskip("_xxsubinterpreters")
    interpreter = interpreters.create()
    try:
        with pytest.raises(interpreters.RunFailedError, match="ImportError.*interpreter"):
            interpreters.run_string(interpreter, "import fieldrig._core")
    finally:
        interpreters.destroy(interpreter)
