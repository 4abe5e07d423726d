"""Two ports with a line between them: what comes in at the one goes out at the other, at the speed of a line.

::

    from fieldrig.bridge import Bridge

    with Bridge("pty://?link=/tmp/meter", "unix:///tmp/qemu.sock", line="9600 8E1") as bridge:
        client = Serial("/tmp/meter", 9600, parity="E")         # any program, in any language

Any two ports can be bridged: serial lines, ptys, sockets, serial servers (RFC 2217), wires in memory. Without a line,
bytes take no time of their own. A port that listens takes one connection at a time; what is sent while nobody is there
is lost, as on a line. Breaks, modem lines and settings that come in on one side are passed on to the other.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import parse_qs

from ._core import JoinedPort, Rig, Span
from .errors import UsageError
from .link import Direction, Fault

__all__ = ["Bridge"]


class Bridge:
    """A line between two ports.

    Args:
        left: URL of the one port, where who asks is: `pty://?link=PATH`, `serial:///dev/ttyUSB0?line=9600+8E1`, ...
        right: URL of the other port, where who answers is: `unix:///run/device.sock`, `tcp-listen://127.0.0.1:0`, ...
        line: speed and format of the line between them (`"9600 8E1"`); None: it takes no time.
        duplex: "full": a conductor for each direction; "half": one for both, on which two that send garble each other;
            that takes a line.
        echo: on half duplex, the left side hears itself.
        seed: what faults are drawn from.
        rig: the rig to share; without one, the bridge has its own.
        name: what run log and trace call it; one of a kind on its rig.

    Raises:
        PortError: a port cannot be opened, or a rig on virtual time is given and a port is not in memory.
        UsageError: a URL or the line is malformed; both ports are the same one; half duplex without a line.
    """

    def __init__(
        self,
        left: str,
        right: str,
        *,
        line: str | None = None,
        duplex: Literal["half", "full"] = "full",
        echo: bool = False,
        seed: int = 0,
        rig: Rig | None = None,
        name: str = "bridge",
    ) -> None:
        if _place(left) == _place(right) is not None:
            raise UsageError(f"a bridge needs two ports, and {left} and {right} are one", hint=_TWO)
        if duplex == "half" and line is None:
            raise UsageError(
                'duplex="half" needs line=: bytes that take no time never meet, so nothing would be garbled',
                hint='say the speed, e.g. line="9600 8E1"',
            )
        self._name = name
        self._own_rig = Rig(trace="counts") if rig is None else None
        self._rig = rig or self._own_rig or Rig()
        opened: list[JoinedPort] = []
        try:
            self._rig.add_wire(name, line, duplex=duplex, echo=echo, seed=seed)
            opened.append(JoinedPort(self._rig, name, left, name=f"{name}.left", brings="clients"))
            opened.append(JoinedPort(self._rig, name, right, name=f"{name}.right", brings="devices"))
        except BaseException:
            for port in opened:
                port.close()
            self._end_rig()
            raise
        self._left, self._right = opened

    @property
    def left(self) -> JoinedPort:
        """The one port: `.url` and `.address` say where others find it."""
        return self._left

    @property
    def right(self) -> JoinedPort:
        """The other port."""
        return self._right

    @property
    def lost(self) -> str | None:
        """Which port is gone, and why; None while both are there."""
        return self._left.lost or self._right.lost

    def fault(
        self,
        name: Fault,
        *,
        p: float | None = None,
        count: int | None = None,
        after: int | None = None,
        direction: Direction | None = None,
        delay: str | Span | None = None,
    ) -> None:
        """Disturbs the line, as :meth:`fieldrig.Rig.fault_wire` does; `requests` go from left to right.

        Raises:
            UsageError: there is no such fault, or a value does not fit.
        """
        self._rig.fault_wire(self._name, name, p=p, count=count, after=after, direction=direction, delay=delay)

    def clear_faults(self) -> None:
        """Ends every disturbance."""
        self._rig.clear_wire_faults(self._name)

    def close(self) -> None:
        """Closes both ports; closing twice is fine."""
        self._left.close()
        self._right.close()
        self._end_rig()

    def _end_rig(self) -> None:
        if self._own_rig is not None:
            self._own_rig.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Bridge {self._left.url} - {self._right.url}>"


_TWO = "give each side a place of its own: another `link=`, wire or path"


def _place(url: str) -> tuple[str, str] | None:
    """What no two ports can share: the name that a pty is given, a wire, a path; None if there is no such thing."""
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    if scheme == "pty":
        link = parse_qs(query).get("link")
        return ("path", _real(link[-1])) if link else None
    if scheme in ("serial", "unix-listen"):
        return "path", _real(place)
    return ("wire", place) if scheme == "wire" else None


def _real(path: str) -> str:
    """The path without detours; where it leads to itself is another matter."""
    place = Path(path)
    return str(place.parent.resolve() / place.name)
