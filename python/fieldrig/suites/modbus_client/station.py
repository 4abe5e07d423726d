"""Our server, which the client under test talks to: it says what a script tells it to say, when the script says so.

One thread owns the port. It stamps every byte that comes, cuts requests, hands each to the script and sends what the
script planned, at once or later. Scripts run on that thread and must not wait. Rules:

- Stamps are seconds of the monotonic clock. What came was there at its stamp, perhaps a little earlier; what was sent
  was not sent before its stamp.
- A script that raises ends the row as our fault (`broken`), never as the client's.
- Each row begins with `renew`: no connection, no byte of the row before is left. A line is a new pty each time, because
  the kernel refuses even parity to whoever opens the same one again (EINVAL); for the same reason the settings of the
  pty are put back whenever the client closes it.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import select
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fieldrig.suites.common.outcome import Exchange

from .frames import FRAMINGS, Framing, Request

LINE = "9600+8N1"
QUIET = 0.03
"""Silence after which what came is taken for the whole request, if its bytes do not tell (seconds)."""
BEAT = 0.01
"""How often the pulse of this process is felt (seconds)."""
LOOK = 1.0
"""How long a look may take at most, on a machine that stands still (seconds)."""
How = Literal["fin", "rst"]


class Reply:
    """What a script plans as the answer to one request."""

    def __init__(self, station: Station, request: Request) -> None:
        self._station = station
        self.request = request
        self.framing = station.framing
        self._from = time.monotonic()

    def send(self, pdu: bytes, *, after: float = 0.0, **wrong: int) -> None:
        """Sends a PDU in the frame of the carrier; `wrong` as in `Framing.answer`."""
        self.raw(self.framing.answer(self.request, pdu, **wrong), after=after)

    def raw(self, data: bytes, *, after: float = 0.0) -> None:
        """Sends bytes as they are, so many seconds from now on."""
        self._station.plan(self._from + after, self.request.connection, data)

    def pieces(self, parts: list[bytes], gap: float) -> None:
        """Sends pieces, `gap` seconds apart."""
        for index, part in enumerate(parts):
            self.raw(part, after=index * gap)

    def end(self, how: How = "fin", *, after: float = 0.0) -> None:
        """Ends the connection."""
        self._station.plan(self._from + after, self.request.connection, how)


Script = Callable[[Request, Reply], None]


@dataclass(frozen=True)
class Sent:
    """Something that we sent."""

    at: float
    connection: int
    data: bytes


class Station(ABC):
    """The port and its thread; see `TcpStation` and `LineStation`."""

    def __init__(self, carrier: str) -> None:
        self.carrier = carrier
        self.framing: Framing = FRAMINGS[{"wire": "rtu", "tls": "tcp"}.get(carrier, carrier)]
        self._lock = threading.RLock()
        self._turned = threading.Condition(self._lock)
        self._asked = self._looked = 0
        self._order = itertools.count()
        self._plans: list[tuple[float, int, int, bytes | How]] = []
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._script: Script = lambda request, reply: None
        self._buffers: dict[int, tuple[bytes, float, float]] = {}
        self._running = True
        self.line = LINE
        self.requests: list[Request] = []
        self.sent: list[Sent] = []
        self.exchanges: list[Exchange] = []
        self._forget()
        self._pulse = threading.Thread(target=self._feel, name="pulse of the suite", daemon=True)
        self._thread = threading.Thread(target=self._run, name=f"{carrier} server of the suite", daemon=True)

    # -- what rows use -----------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def url(self) -> str:
        """What the driver of the client is told."""

    def play(self, script: Script) -> None:
        """From now on requests are answered by this script."""
        with self._lock:
            self._script = script

    def plan(self, at: float, connection: int, what: bytes | How) -> None:
        """Sends bytes, or ends the connection, at an instant (at once if it has passed)."""
        with self._lock:
            heapq.heappush(self._plans, (at, next(self._order), connection, what))
        self._wake()

    def renew(self, log: list[Exchange], line: str | None = None, stance: object = None) -> None:
        """Begins anew: ends every connection and forgets everything.

        Args:
            log: where everything that happens is kept.
            line: on serial lines the settings, `1200+8N1`, if not the usual ones.
            stance: inside TLS what our server does in handshakes, a `secure.tunnel.Stance`.
        """
        with self._lock:
            self._plans.clear()
            self._script = lambda request, reply: None
            self._drop_all()
            self._forget()
            self.exchanges = log
            self.line = line or LINE
        self._wake()

    exact = False
    """The instants of what comes are known exactly."""

    @property
    def shortest_silence(self) -> float | None:
        """t3.5 of the line, if it is a line."""
        return None

    def silence(self, earliest: float, ended: float, request: Request) -> tuple[float, float]:
        """How long the line was silent before a request: at least, at most (seconds).

        Args:
            earliest: when what came before was surely not there yet.
            ended: where that is known exactly, when it ended.
            request: what came then.
        """
        return 0.0, request.began - earliest

    def gap_inside(self) -> str | None:
        """Which request had gaps of more than 1.5 characters, if that can be told."""
        return None

    def look(self) -> None:
        """Takes what has come: a client can have given up what it sent before the thread has seen it."""
        for _ in range(2):  # a connection first, then what came on it
            with self._turned:
                self._asked += 1
                self._wake()
                self._turned.wait_for(lambda: self._looked == self._asked, LOOK)

    def hang_up(self) -> None:
        """Ends every connection."""
        with self._lock:
            self._drop_all()
        self._wake()

    def settings(self) -> dict[str, Any]:
        """What the driver must know beside the URL."""
        return {}

    @property
    def spoke_plainly(self) -> bytes:
        """What the client said without TLS where TLS was due, in the latest row; empty if nothing."""
        return b""

    @abstractmethod
    def is_open(self, connection: int) -> bool:
        """The client has not ended this connection."""

    def close(self) -> None:
        """Ends the thread and closes the port."""
        self._running = False
        self._wake()
        self._thread.join()
        self._pulse.join()
        self._drop_all()
        self._woken.close()
        self._waker.close()

    # -- the thread --------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self.requests = []
        self.sent = []
        self.exchanges = []
        self.connections = 0
        self.unreadable = b""
        self.broken: Exception | None = None
        self.lag = 0.0
        """For how long this process stood still at most."""
        self._buffers.clear()

    def _run(self) -> None:
        while self._running:
            try:
                self._turn()
            except Exception as error:  # ours, told by the row
                self.broken = error

    def _turn(self) -> None:
        with self._lock:
            asked = self._asked
            wait = self._due() if asked == self._looked else 0.0
        self._poll(wait)
        with self._turned:
            self._settle()
            self._send_due()
            self._looked = asked
            self._turned.notify_all()

    def _feel(self) -> None:
        """Feels for how long this process does not come to run."""
        before = time.monotonic()
        while self._running:
            time.sleep(BEAT)
            now = time.monotonic()
            self.lag = max(self.lag, now - before - BEAT)
            before = now

    def _due(self) -> float | None:
        """How long until something must be done."""
        now = time.monotonic()
        instants = [plan[0] for plan in self._plans[:1]]
        instants += [last + QUIET for data, _, last in self._buffers.values() if data]
        return max(min(instants) - now, 0.0) if instants else None

    def _take(self, connection: int, data: bytes) -> None:
        """Bytes came."""
        at = time.monotonic()
        before, began, _ = self._buffers.get(connection, (b"", at, at))
        self.exchanges.append(Exchange(connection, "received", at, data))
        self._cut(connection, before + data, began if before else at, at, quiet=False)

    def _settle(self) -> None:
        """Where silence has lasted long enough, what came is all there is."""
        now = time.monotonic()
        for connection, (data, began, last) in list(self._buffers.items()):
            if data and now >= last + QUIET:
                self._cut(connection, data, began, last, quiet=True)

    def _cut(self, connection: int, data: bytes, began: float, at: float, *, quiet: bool) -> None:
        found, rest = self.framing.cut(data, quiet)
        if quiet and rest:
            self.unreadable += rest
            self._note(connection, f"{len(rest)} bytes that are no request: {rest[:16].hex(' ')}")
            rest = b""
        self._buffers[connection] = (rest, at, at)
        for request in found:
            self._answer(replace(request, connection=connection, began=began, at=at))

    def _answer(self, request: Request) -> None:
        self.requests.append(request)
        if request.unit == 0 and self.carrier not in ("tcp", "tls"):
            return  # a broadcast, which nobody answers (SL 2.1)
        try:
            self._script(request, Reply(self, request))
        except Exception as error:  # ours, told by the row
            self.broken = error

    def _send_due(self) -> None:
        while self._plans and self._plans[0][0] <= time.monotonic():
            _, _, connection, what = heapq.heappop(self._plans)
            at = time.monotonic()
            if isinstance(what, bytes):
                if self._write(connection, what):
                    self.sent.append(Sent(at, connection, what))
                    self.exchanges.append(Exchange(connection, "sent", at, what))
            elif self._end(connection, what):
                self._note(connection, {"fin": "we closed the connection", "rst": "we reset the connection"}[what])

    def _note(self, connection: int, text: str) -> None:
        self.exchanges.append(Exchange(connection, "note", time.monotonic(), text=text))

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._waker.send(b"\0")

    def _awake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)

    @abstractmethod
    def _poll(self, wait: float | None) -> None:
        """Waits for bytes, and takes them."""

    @abstractmethod
    def _write(self, connection: int, data: bytes) -> bool:
        """Sends; false if nobody is there any more."""

    @abstractmethod
    def _end(self, connection: int, how: How) -> bool:
        """Ends a connection; false if it has ended before."""

    @abstractmethod
    def _drop_all(self) -> None:
        """Ends every connection, on any thread."""


class TcpStation(Station):
    """A listening socket."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, carrier: str = "tcp") -> None:
        super().__init__(carrier)
        self._listener = socket.create_server((host, port), backlog=64)
        self._listener.setblocking(False)
        self._sockets: dict[int, socket.socket] = {}
        self._thread.start()
        self._pulse.start()

    @property
    def url(self) -> str:
        host, port = self._listener.getsockname()[:2]
        return f"tcp://{host}:{port}"

    def is_open(self, connection: int) -> bool:
        return connection in self._sockets

    def close(self) -> None:
        super().close()
        self._listener.close()

    def _poll(self, wait: float | None) -> None:
        with self._lock:
            sockets = dict(self._sockets)
        poll = select.poll()
        for file in (self._woken, self._listener, *sockets.values()):
            with contextlib.suppress(ValueError, OSError):  # dropped a moment ago
                poll.register(file, select.POLLIN)
        ready = {file for file, _ in poll.poll(None if wait is None else wait * 1000)}
        if self._woken.fileno() in ready:
            self._awake()
        with self._lock:
            if self._listener.fileno() in ready:
                self._accept()
            for number, connection in sockets.items():
                if self._sockets.get(number) is connection and connection.fileno() in ready:
                    self._read(number, connection)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections += 1
        self._sockets[self.connections] = connection
        self._note(self.connections, "the client connected")

    def _read(self, number: int, connection: socket.socket) -> None:
        try:
            data = connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(number, data)
            return
        self._sockets.pop(number).close()
        self._note(number, "the client closed the connection")

    def _write(self, connection: int, data: bytes) -> bool:
        if connection not in self._sockets:
            return False
        try:
            self._sockets[connection].send(data)
        except OSError:
            return False
        return True

    def _end(self, connection: int, how: How) -> bool:
        found = self._sockets.pop(connection, None)
        if found is None:
            return False
        if how == "rst":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        found.close()
        return True

    def _drop_all(self) -> None:
        for number in list(self._sockets):
            self._end(number, "fin")


class LineStation(Station):
    """One end of a pty; the client opens the other as its serial port."""

    def __init__(self, carrier: str, folder: Path) -> None:
        super().__init__(carrier)
        self._path = folder / "line"
        self._master = -1
        self._name = ""
        self._gone = False
        self._drop_all()
        self._thread.start()
        self._pulse.start()

    @property
    def url(self) -> str:
        return f"{self.carrier}://{self._path}?line={self.line}"

    def is_open(self, connection: int) -> bool:
        return not self._gone

    def close(self) -> None:
        super().close()
        os.close(self._master)
        self._path.unlink(missing_ok=True)

    def _poll(self, wait: float | None) -> None:
        pause = 0.002 if self._gone else wait
        with self._lock:
            master = self._master
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        if not self._gone:
            poll.register(master, select.POLLIN)
        ready = dict(poll.poll(None if pause is None else min(pause, wait if wait is not None else pause) * 1000))
        if self._woken.fileno() in ready:
            self._awake()
        with self._lock:
            if master != self._master:
                return
            if self._gone:
                self._gone = hung_up(master)
                if not self._gone:
                    self.connections += 1
            elif master in ready:
                self._read(master)

    def _read(self, master: int) -> None:
        try:
            data = os.read(master, 65536)
        except BlockingIOError:
            return
        except OSError:  # EIO: nobody has the other end open
            data = b""
        if data:
            self._take(1, data)
        elif hung_up(master):
            self._gone = True
            put_back(self._name)

    def _write(self, connection: int, data: bytes) -> bool:
        if self._gone and hung_up(self._master):
            return False
        try:
            os.write(self._master, data)
        except OSError:
            return False
        return True

    def _end(self, connection: int, how: How) -> bool:
        return False

    def _drop_all(self) -> None:
        import pty

        if self._master >= 0:
            os.close(self._master)
            self._master = -1
        if not self._running:
            self._master = os.open(os.devnull, os.O_RDONLY)
            return
        self._master, other = pty.openpty()
        os.set_blocking(self._master, False)
        self._name = os.ttyname(other)
        os.close(other)
        put_back(self._name)
        self._gone = True
        new = self._path.with_suffix(".new")
        new.unlink(missing_ok=True)
        new.symlink_to(self._name)
        new.replace(self._path)


def hung_up(master: int) -> bool:
    """Nobody has the other end of the pty open."""
    poll = select.poll()
    poll.register(master, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


def put_back(name: str) -> None:
    """Gives a pty that nobody has open the settings it was born with, without echo, and empties it."""
    import termios
    import tty

    try:
        other = os.open(name, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return
    try:
        tty.setraw(other)
        settings = termios.tcgetattr(other)
        settings[4] = settings[5] = termios.B38400
        termios.tcsetattr(other, termios.TCSANOW, settings)
        termios.tcflush(other, termios.TCIOFLUSH)
    finally:
        os.close(other)
