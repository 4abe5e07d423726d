"""Which other processes have a serial port open, and may take what comes there.

Rules of this file:

- The kernel gives a byte to one reader. So a program that opened the port before us (a modem manager, a terminal, a
  script) takes bytes that the device did send; once we have the port, only root can join (TIOCEXCL, tty_ioctl(4)).
- Who has it open for writing alone takes nothing, and neither does who has the other end of a pty: that is the device.
- Only root sees the open files of all processes: that nobody is found proves nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

PROCESSES = Path("/proc")


def sharers(url: str) -> list[str]:
    """Who else has the serial port of a URL open for reading: `name (pid 123)`.

    Empty for other ports, for names of USB adapters that are not plugged in, and where nobody may be seen.
    """
    node = device_node(url)
    if node is None:
        return []
    found = []
    for process in PROCESSES.iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid() and _reads(process, node):
            found.append(f"{_name(process)} (pid {process.name})")
    return sorted(found)


def device_node(url: str) -> str | None:
    """The device node of a `serial:///..` URL, links followed; None of any other."""
    address = urlsplit(url)
    if address.scheme != "serial":
        return None
    if not address.netloc:
        return os.path.realpath(unquote(address.path))
    from . import _core

    near = (port.path for port in _core.ports() if port.name and address.netloc in (port.name, f"usb:{port.location}"))
    return next(iter(near), None)


def _reads(process: Path, node: str) -> bool:
    """Whether a process may take bytes of a device node, as far as we may look into it."""
    number = node.removeprefix("/dev/pts/")
    reads = False
    try:
        for opened in (process / "fd").iterdir():
            target = _target(opened)
            if target == node:
                reads = reads or _opened_for_reading(process, opened.name)
            elif target in ("/dev/ptmx", "/dev/pts/ptmx") and _field(process, opened.name, "tty-index") == number:
                return False
    except OSError:
        return reads
    return reads


def _target(link: Path) -> str | None:
    try:
        return os.readlink(link)
    except OSError:
        return None


def _opened_for_reading(process: Path, descriptor: str) -> bool:
    flags = _field(process, descriptor, "flags")
    return flags is None or int(flags, 8) & os.O_ACCMODE != os.O_WRONLY


def _field(process: Path, descriptor: str, name: str) -> str | None:
    """A field of what the kernel says about an open file (proc(5), fdinfo)."""
    try:
        lines = (process / "fdinfo" / descriptor).read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{name}:")), None)


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "a process"
