"""What a long run depends on: Ctrl-C, threads, interpreter exit, fork; in a process of its own where it must be."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fieldrig import modbus
from fieldrig.errors import ForkError, Reentered

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


@pytest.mark.parametrize("call", ["modbus", "console", "mqtt"])
def test_ctrl_c_ends_a_blocking_call_and_the_port_works_afterwards(call: str) -> None:
    process = start("interrupted.py", call)
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


def test_eight_threads_on_one_client_each_get_their_own_answer() -> None:
    with modbus.Device(holding={0: list(range(1000, 1064))}) as device, modbus.Client(device.url) as client:

        def work(thread: int) -> None:
            for turn in range(100):
                address = (thread * 7 + turn) % 60
                assert client.read_holding(address, 4).values == tuple(range(1000 + address, 1004 + address))

        with ThreadPoolExecutor(8) as threads:
            for future in [threads.submit(work, thread) for thread in range(8)]:
                future.result(60)


def test_fifty_interpreters_exit_with_live_threads() -> None:
    def one(_: int) -> tuple[int, str]:
        process = start("leaves_everything_open.py")
        out, err = process.communicate(timeout=60)
        return process.returncode, out + err

    with ThreadPoolExecutor(4) as runners:
        outcomes = list(runners.map(one, range(50)))
    assert [outcome for outcome in outcomes if outcome != (0, "leaving\n")] == []


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


def test_no_thread_survives_close() -> None:
    before = {entry.name for entry in Path("/proc/self/task").iterdir()}
    with modbus.Device(holding={0: [1]}) as device, modbus.Client(device.url) as client:
        client.read_holding(0, 1)
        during = {entry.name for entry in Path("/proc/self/task").iterdir()}
        assert during > before
    assert {entry.name for entry in Path("/proc/self/task").iterdir()} <= before | {str(threading.get_native_id())}


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
