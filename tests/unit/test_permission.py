"""What may be done to a real device is what its bench file allows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fieldrig.errors import UsageError
from fieldrig.permission import guard_of, message_guard_of, permit, places

MAP = {
    "setpoint": {"table": "holding", "address": 4, "type": "i16", "unit": "degC"},
    "energy": {"table": "holding", "address": 10, "type": "u32"},
    "relay": {"table": "coils", "address": 0},
}


def dut(profile: str = "real", writable: tuple[str, ...] = (), allow: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(name="meter", profile=profile, _native=SimpleNamespace(writable=writable, allow=allow))


AT: Any = SimpleNamespace(link="modbus", point_map=MAP)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("setpoint", [("holding", 4, 4)]),
        ("energy", [("holding", 10, 11)]),
        ("relay", [("coils", 0, 0)]),
        ("holding:100-120", [("holding", 100, 120)]),
        ("coils:3", [("coils", 3, 3)]),
        ("a point of another link", []),
    ],
)
def test_an_entry_of_writable_is_a_point_or_a_range(entry: str, expected: list[tuple[str, int, int]]) -> None:
    assert places(entry, AT) == expected


def test_only_what_is_writable_may_be_written() -> None:
    guard = guard_of(dut(writable=("setpoint", "energy", "coils:3-4")), AT)
    assert guard is not None
    guard(6, ("holding", 4, 1), "write")
    guard(16, ("holding", 10, 2), "write")
    guard(15, ("coils", 3, 2), "write")
    for written, named in [
        (("holding", 5, 1), "holding:5"),
        (("holding", 10, 3), "holding:12"),
        (("coils", 4, 2), "coils:5"),
        (("coils", 10, 1), "coils:10"),
    ]:
        with pytest.raises(
            UsageError, match=rf"^USAGE: meter\.modbus: .* allow to write {named}\n.*writable = \[\.\.\]"
        ):
            guard(16, written, "write")
    with pytest.raises(UsageError, match="does not allow function 0x2b"):
        guard(0x2B, None, "write")


def test_nothing_stands_before_an_emulated_device_or_one_whose_file_says_nothing() -> None:
    assert guard_of(dut("emulated", writable=("setpoint",)), AT) is None
    assert guard_of(dut(), AT) is None


def test_who_may_write_may_write_everything_and_nothing_else() -> None:
    guard = guard_of(dut(writable=("setpoint",), allow=("write",)), AT)
    assert guard is not None
    guard(6, ("holding", 99, 1), "write")
    guard(0x2B, None, "write")
    for action, does in (("restart", "restarts"), ("silence", "silences")):
        with pytest.raises(UsageError, match=rf'function 0x08, which {does} it\n  hint: put "{action}" into allow'):
            guard(8, None, action)


def test_a_file_that_allows_something_else_allows_no_write() -> None:
    guard = guard_of(dut(allow=("restart",)), AT)
    assert guard is not None
    guard(8, None, "restart")
    with pytest.raises(UsageError):
        guard(6, ("holding", 4, 1), "write")


def test_what_a_device_is_put_through_is_what_its_file_allows() -> None:
    permit(dut(allow=("restart",)), "restart")
    permit(dut(), "restart")
    permit(dut("emulated", allow=("write",)), "restart")
    with pytest.raises(UsageError, match=r'allow to restart it\n  hint: .*"restart".*allow = \["write"\]'):
        permit(dut(allow=("write",)), "restart")
    with pytest.raises(UsageError, match="allow to silence it\n  hint: .*which has writable and no allow"):
        permit(dut(writable=("setpoint",)), "silence")


def test_messages_of_described_protocols_say_what_they_need() -> None:
    guard = message_guard_of(dut(allow=("restart",)), "acme")
    assert guard is not None
    guard("`status`", "nothing")
    guard("`reboot`", "restart")
    with pytest.raises(
        UsageError, match='meter.acme: the bench file does not allow `set`, which needs "write"'
    ) as told:
        guard("`set`", "write")
    assert told.value.hint is not None and 'needs = "nothing" into [message.set] if it changes' in told.value.hint
    for what, needs in (
        ("a patched `reboot`", ("restart", "write")),
        ("raw bytes", ("write",)),
        ("`mute`", ("silence",)),
    ):
        with pytest.raises(UsageError, match=what) as told:
            guard(what, *needs)
        assert told.value.hint == f'put "{needs[-1]}" into allow = [..] of [dut.meter]'


def test_messages_are_free_where_the_bench_file_restricts_nothing() -> None:
    assert message_guard_of(dut(), "acme") is None
    assert message_guard_of(dut("emulated", allow=("restart",)), "acme") is None
    assert message_guard_of(dut(writable=("limit",)), "acme") is not None
