"""Processes of a benchmark: started on a CPU, spoken to line by line, charged for the CPU time they use."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ERRORS = Path("build/bench/stderr.log")
"""What the processes say on standard error: foreign servers say a lot about pipelined requests."""


PATIENCE = 100.0
"""Seconds an entrant may take for one round: the slowest that does the work takes a tenth of it."""


def stolen() -> float:
    """Seconds of CPU time that the host of a virtual machine gave to others, of all CPUs, since the machine began."""
    with open("/proc/stat") as file:
        return int(file.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def pinned(*cpus: int) -> Iterator[None]:
    """What is started inside runs on these CPUs, with all its threads."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(cpus))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Result:
    """One round of one entrant."""

    operations: int
    elapsed_ns: int
    p50_ns: int
    client_cpu_ns: int
    server_cpu_ns: int


class Stalled(Exception):
    """An entrant cannot do the work: a server left requests unanswered, a program ended. The text says which."""


class Process:
    """A process on one CPU, or on some, with lines in and out."""

    def __init__(self, command: Sequence[str | Path], cpus: int | tuple[int, ...]) -> None:
        with pinned(*([cpus] if isinstance(cpus, int) else cpus)), ERRORS.open("a") as errors:
            pipe = subprocess.PIPE
            self._child = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=errors, text=True, start_new_session=True
            )
        self._name = " ".join(str(word) for word in command)

    def line(self) -> str:
        """The next line it prints; Stalled if it ended instead, or prints none."""
        assert self._child.stdout is not None
        if not select.select([self._child.stdout], [], [], PATIENCE)[0]:
            raise Stalled(f"no result within {PATIENCE:g} s")
        line = self._child.stdout.readline()
        if not line:
            raise Stalled(f"`{self._name}` ended with status {self._child.wait()}; it said why in {ERRORS}")
        return line.strip()

    def tell(self, text: str) -> None:
        """Sends a line."""
        assert self._child.stdin is not None
        self._child.stdin.write(text + "\n")
        self._child.stdin.flush()

    def cpu_ns(self) -> int:
        """CPU time of all its living threads, to the nanosecond."""
        tasks = Path(f"/proc/{self._child.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)

    def stop(self) -> None:
        """Ends it, and what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


class Pair:
    """A server and the client that loads it."""

    def __init__(self, server: Sequence[str | Path], client: Sequence[str | Path], cpus: tuple[int, int]) -> None:
        self._server = Process(server, cpus[0])
        port = self._server.line()
        self._client = Process([port if word == "{port}" else word for word in client], cpus[1])

    def round(self, count: int) -> Result:
        """Makes `count` operations; Stalled if the server does not answer them all."""
        client, server = self._client.cpu_ns(), self._server.cpu_ns()
        self._client.tell(str(count))
        answer = json.loads(self._client.line())
        if "stalled" in answer:
            raise Stalled(answer["stalled"])
        client, server = self._client.cpu_ns() - client, self._server.cpu_ns() - server
        return Result(**answer, client_cpu_ns=client, server_cpu_ns=server)

    def stop(self) -> None:
        """Ends both."""
        self._client.stop()
        self._server.stop()
