"""The bench of the design: a shared wire, three meters, a gateway; all emulated, and with a real gateway."""

from __future__ import annotations

import os
import select
import shutil
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fieldrig import _core
from fieldrig.bench import BenchPlan
from fieldrig.errors import BenchError, BenchFileError

RACK2 = Path(__file__).parents[2] / "fixtures" / "benches" / "rack2"

# Read Input Registers of unit 2, one register from address 0, and 230.0 V as the meter says it (V1.1b3 6.4).
REQUEST = bytes.fromhex("02 04 00 00 00 01 31 f9")
RESPONSE = bytes.fromhex("02 04 02 08 fc fa b1")


@pytest.fixture(autouse=True)
def _site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_SITE", "north")


@contextmanager
def adapter() -> Iterator[tuple[int, str]]:
    """A pty pair that stands for a real adapter: the far end, and the path of the near one."""
    far, near = os.openpty()
    tty.setraw(far, termios.TCSANOW)
    tty.setraw(near, termios.TCSANOW)
    try:
        yield far, os.ttyname(near)
    finally:
        os.close(near)
        os.close(far)


def mixed(folder: Path, bus: str, console: str) -> Path:
    """The bench with an overlay that names the ports and a broker of this machine."""
    shutil.copytree(RACK2, folder, dirs_exist_ok=True)
    (folder / "bench.local.toml").write_text(
        f'[link.bus485.real]\nport = "{bus}"\n'
        '[link.uplink.real]\nbroker = "embedded"\npassword = "planted-secret"\n'
        f'[dut.gateway.links.console]\nport = "{console}"\n'
        '[dut.gateway.power]\ncommand = "true {action}"\nactions = ["on", "off"]\nsettle = "0s"\n'
    )
    return folder / "bench.toml"


def exchange(far: int, request: bytes, length: int) -> bytes:
    """What a real master does: sends a request, reads the answer, or what there is of it in 20 s."""
    os.write(far, request)
    got = b""
    while len(got) < length and select.select([far], [], [], 20)[0]:
        got += os.read(far, length - len(got))
    return got


def test_meters_emulated_on_one_wire_are_polled_and_forwarded(tmp_path: Path) -> None:
    with BenchPlan.load(RACK2 / "bench.toml").open(out=tmp_path) as bench:
        gateway = bench.device("gateway")
        for meter in bench.peers.values():
            change = meter.set("voltage", 231.7)
            poll = bench.bus485.expect(request_to=meter, after=change, within="20s")
            assert poll.unit in (1, 2, 3)
        with gateway.uplink.watch("{base}/+/voltage", qos=1) as values:
            values.expect("{base}/meter3/voltage", json={"v": 231.7}, within="20s")
        gateway.console.send("ver")
        gateway.console.expect(r"fw (\S+)", within="20s")


def test_a_real_gateway_reads_emulated_meters_through_the_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_PASSWORD", "planted-secret")
    with adapter() as (far, bus), adapter() as (_, console):
        plan = BenchPlan.load(mixed(tmp_path / "rack2", bus, console), ["gateway=real"])
        with plan.open(out=tmp_path / "out") as bench:
            assert exchange(far, REQUEST, len(RESPONSE)) == RESPONSE
            poll = bench.bus485.expect(request_to="meter2", within="20s")
            assert poll.unit == 2
            assert bench.device("gateway").profile == "real"
            with pytest.raises(BenchError, match="held by|in use|has it") as held:
                _core.WireLock(bus, "another run", wait="0s")
            assert "rack2" in str(held.value)
            broker = bench._running.link("uplink").address
            assert broker is not None and broker.startswith("127.0.0.1:")
        with _core.WireLock(bus, "another run", wait="0s"):
            pass  # the bench is closed, so its ports are free


def test_tls_is_refused_when_the_bench_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_PASSWORD", "planted-secret")
    plan = BenchPlan.load(RACK2 / "bench.toml", ["gateway=real"])
    with pytest.raises(BenchFileError, match="TLS is not there yet"):
        plan.open(out=tmp_path)


def test_what_the_plan_says_is_seen_from_python() -> None:
    plan = _core.bench.load(str(RACK2 / "bench.toml"), [])
    bus, uplink = plan.links
    assert (bus.name, bus.role, bus.real, bus.wire, bus.line, bus.lock) == (
        "bus485",
        "devices",
        False,
        True,
        "9600 8E1",
        (),
    )
    assert (uplink.base, plan.clock, plan.secrets) == ("site/north/gw", "real", ())
    (gateway,) = plan.duts
    assert gateway.life["power"]["kind"] == "command"
    assert gateway.life["identity"]["firmware"] == {
        "console": "ver",
        "match": r"fw (\S+)",
        "kind": "console",
        "timeout": "10s",
    }
    assert [(link.name, link.role, link.tested, link.private) for link in gateway.links] == [
        ("bus485", "client", False, False),
        ("uplink", "client", True, False),
        ("console", "devices", True, True),
    ]
    assert [peer.links[0].unit for peer in plan.peers] == [1, 2, 3]
