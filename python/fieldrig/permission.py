"""What may be done to a real device: what its bench file allows.

Rules of this file:

- An emulated device can be written, restarted and silenced as a test likes: nothing breaks.
- A real one whose bench file says nothing belongs to whoever wrote the test.
- Once the bench file has ``writable`` or ``allow`` for a real device, only that is done to it; everything else is a
  usage error before anything is sent.
- Of a protocol that is described by data, each message says what it ``needs``; one that says nothing needs "write", and
  so do patched messages and raw bytes. ``writable`` says nothing about them.
- Of Modbus, function 08 needs ``"restart"`` for sub-function 1 and ``"silence"`` for 4. What else can cause behaviour
  and writes no table (08 otherwise, 21, 43/13, unknown functions, raw frames, patched requests) needs ``"write"``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _core
from .errors import UsageError

if TYPE_CHECKING:
    from .dut import Dut

ACTIONS = ("write", "restart", "silence")
"""What ``allow`` of a bench file may name."""


class Guard:
    """Called before everything that can cause behaviour on a Modbus link."""

    def __init__(self, device: str, link: str, places: list[tuple[str, int, int]], allow: tuple[str, ...]) -> None:
        """``places``: table, first and last address that may be written; ``allow``: what else may be done."""
        self._name = f"{device}.{link}"
        self._device = device
        self._places = places
        self._allow = allow

    def __call__(self, function: int, written: tuple[str, int, int] | None, action: str) -> None:
        """Raises what must not be sent.

        Raises:
            UsageError: the bench file does not allow it.
        """
        if action in self._allow:
            return
        if action != "write" or written is None:
            does = {"write": "", "restart": ", which restarts it", "silence": ", which silences it"}[action]
            hint = f'put "{action}" into allow = [..] of [dut.{self._device}]'
            raise UsageError(f"{self._name}: the bench file does not allow function {function:#04x}{does}", hint=hint)
        table, first, count = written
        hint = f'put "write" into allow = [..] of [dut.{self._device}]'
        if table != "files":
            hint = f'add it to writable = [..] of [dut.{self._device}], or "write" to its allow = [..]'
        for address in range(first, first + count):
            if not any(table == where and low <= address <= high for where, low, high in self._places):
                raise UsageError(f"{self._name}: the bench file does not allow to write {table}:{address}", hint=hint)


class MessageGuard:
    """Called before anything is sent on the link of a protocol that is described by data."""

    def __init__(self, device: str, link: str, allow: tuple[str, ...]) -> None:
        """``allow``: what may be done to the device."""
        self._device = device
        self._name = f"{device}.{link}"
        self._allow = allow

    def __call__(self, what: str, *needs: str) -> None:
        """Raises what must not be sent.

        Raises:
            UsageError: the bench file does not allow it.
        """
        for need in needs:
            if need != "nothing" and need not in self._allow:
                hint = f'put "{need}" into allow = [..] of [dut.{self._device}]'
                if need == "write" and len(needs) == 1 and what.startswith("`"):
                    hint += f', or needs = "nothing" into [message.{what.strip("`")}] if it changes nothing'
                raise UsageError(f'{self._name}: the bench file does not allow {what}, which needs "{need}"', hint=hint)


def message_guard_of(dut: Dut, link: str) -> MessageGuard | None:
    """What stands between a test and the messages to a real device; None if its bench file restricts nothing."""
    native = dut._native
    if dut.profile != "real" or not (native.writable or native.allow):
        return None
    return MessageGuard(dut.name, link, tuple(native.allow))


def guard_of(dut: Dut, at: _core.bench.Resolved) -> Guard | None:
    """What stands between a test and the writes to a real device; None if its bench file restricts nothing."""
    native = dut._native
    writable, allow = native.writable, native.allow
    if dut.profile != "real" or not (writable or allow):
        return None
    return Guard(dut.name, at.link, [place for entry in writable for place in places(entry, at)], tuple(allow))


def places(entry: str, at: _core.bench.Resolved) -> list[tuple[str, int, int]]:
    """Where an entry of ``writable`` stands: ``"setpoint"``, ``"holding:100-120"``, ``"coils:3"``."""
    table, found, numbers = entry.partition(":")
    if found:
        first, _, last = numbers.partition("-")
        return [(table, int(first), int(last or first))]
    points = at.point_map or {}
    if entry not in points:
        return []  # a point of another link
    place = _core.modbus.describe_points({entry: points[entry]})[entry]
    return [(place["table"], place["address"], place["address"] + place["registers"] - 1)]


def permit(dut: Dut, action: str) -> None:
    """Refuses what the bench file does not allow to do to a real device.

    Raises:
        UsageError: it has ``writable`` or ``allow``, and ``allow`` does not name the action.
    """
    allow = dut._native.allow
    if dut.profile != "real" or not (allow or dut._native.writable) or action in allow:
        return
    there = ", ".join(f'"{word}"' for word in allow)
    has = f"which has allow = [{there}]" if allow else "which has writable and no allow"
    hint = f'put "{action}" into allow = [..] of [dut.{dut.name}], {has}'
    raise UsageError(f"{dut.name}: the bench file does not allow to {action} it", hint=hint)
