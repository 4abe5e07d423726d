"""A bench that cannot be opened whole is not left half open, and a run that fails leaves files that can be read."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig import modbus, mqtt
from fieldrig.bench import BenchPlan
from fieldrig.errors import BenchError, BenchFileError, PortError, UsageError
from tests.leftovers import nothing_left

FIRST_LIGHT = Path(__file__).parents[2] / "examples" / "first_light"
PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture(autouse=True)
def leaves_nothing() -> Iterator[None]:
    """Every test of this file gives back all it opened."""
    with nothing_left():
        yield


def bench_file(folder: Path, *changes: tuple[str, str]) -> Path:
    """The first-light bench with changes to its text."""
    text = (FIRST_LIGHT / "bench.toml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "meter.toml").write_text((FIRST_LIGHT / "meter.toml").read_text())
    (folder / "bench.toml").write_text(text)
    return folder / "bench.toml"


def real(**ports: str) -> list[tuple[str, str]]:
    """Changes that give links real ports; the meter then is reached by TCP."""
    changes = [('"modbus-rtu"', '"modbus-tcp"'), ('line = "9600 8E1"\n', "")]
    return changes + [(f"[link.{link}]\n", f"[link.{link}]\nreal = {{ {port} }}\n") for link, port in ports.items()]


def records(folder: Path) -> list[dict[str, object]]:
    """The run log: every line is whole."""
    return [json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("trouble", ["missing", "refused"])
def test_a_bench_whose_last_port_cannot_be_opened_closes_the_first_ones(tmp_path: Path, trouble: str) -> None:
    with socket.socket() as unused, modbus.Device(input={0: [1]}) as device, mqtt.Broker() as broker:
        unused.bind(("127.0.0.1", 0))
        if trouble == "missing":
            place, url = "/dev/does-not-exist", broker.url
        else:
            master, slave = os.openpty()
            place, url = os.ttyname(slave), f"mqtt://127.0.0.1:{unused.getsockname()[1]}"
        changes = real(
            modbus=f'port = "{device.url}"',
            mqtt=f'broker = "{url}"',
            console=f'port = "{place}", belongs_to = "bench"',
        )
        plan = BenchPlan.load(bench_file(tmp_path, *changes), ["real"])
        with nothing_left(), pytest.raises(PortError, match=place if trouble == "missing" else url[7:]):
            plan.open(out=tmp_path / "run")
        if trouble == "refused":
            os.close(master)
            os.close(slave)
    failed = [record for record in records(tmp_path / "run") if record["kind"] == "bench.failed"]
    assert len(failed) == 1
    assert "BENCH: " in str(failed[0])


def test_a_port_of_another_run_is_named_and_nothing_stays_open(tmp_path: Path) -> None:
    with modbus.Device(input={0: [1]}) as device, mqtt.Broker() as broker:
        master, slave = os.openpty()
        place = os.ttyname(slave)
        changes = real(
            modbus=f'port = "{device.url}"',
            mqtt=f'broker = "{broker.url}"',
            console=f'port = "{place}", belongs_to = "bench"',
        )
        plan = BenchPlan.load(bench_file(tmp_path, *changes), ["real"])
        with plan.open(out=tmp_path / "one") as bench:
            with (
                nothing_left(),
                pytest.raises(PortError, match=device.url.removeprefix("tcp://") + ": the wire is held by"),
            ):
                plan.open(out=tmp_path / "two")
            assert bench.device("meter").modbus.read("voltage").value == pytest.approx(0.1)
        os.close(master)
        os.close(slave)


def test_a_folder_that_cannot_be_written_is_the_bench(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match=f"^BENCH: .*{tmp_path}/file"):
        BenchPlan.load(FIRST_LIGHT / "bench.toml").open(out=tmp_path / "file")


def test_kill_9_in_mid_run_keeps_what_was_written(tmp_path: Path) -> None:
    program = PROGRAMS / "runs_until_killed.py"
    process = subprocess.Popen([sys.executable, str(program), str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "twenty\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    steps = [record for record in records(tmp_path) if record["kind"] == "step"]
    assert [record["fields"] for record in steps][:20] == [{"number": number} for number in range(20)]
    trace = (tmp_path / "trace.pcapng").read_bytes()
    assert trace[:4] == bytes.fromhex("0a 0d 0d 0a")
    while len(trace) >= 12:  # every block but the last is whole: its length stands at both ends
        length = int.from_bytes(trace[4:8], "little")
        assert length > len(trace) or trace[length - 4 : length] == trace[4:8]
        trace = trace[length:]


BAD = {
    "unknown key": ("base =", "basee =", r"bench\.toml:\d+:1: .*basee.*base"),
    "no such link": ('modbus = "devices"', 'modbsu = "devices"', r"bench\.toml:\d+:\d+: .*modbsu.*modbus"),
    "no model file": ('"meter.toml"', '"metre.toml"', r"bench\.toml:\d+:\d+: .*metre\.toml"),
    "no variable": (
        '"site/meter"',
        '"site/${FIELDRIG_TEST_UNSET}/meter"',
        r"bench\.toml:\d+:\d+: .*FIELDRIG_TEST_UNSET",
    ),
    "no TOML": ('profile = "emulated"', "profile = emulated", r"bench\.toml:3:\d+: "),
    "unknown protocol": ('"mqtt5"', '"mqtt6"', r"bench\.toml:\d+:\d+: .*mqtt6.*mqtt5"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_bench_file_is_refused_with_place_and_hint(name: str, tmp_path: Path) -> None:
    old, new, message = BAD[name]
    path = bench_file(tmp_path, (old, new))
    with pytest.raises(BenchFileError, match=f"(?s){message}") as wrong:
        BenchPlan.load(path)
    assert wrong.value.line == path.read_text().split(new)[0].count("\n") + 1
    (tmp_path / "test_it.py").write_text("def test_it(meter):\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--bench", "bench.toml", "test_it.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (4, "")
    assert f"bench.toml:{wrong.value.line}:{wrong.value.column}: " in ended.stderr
    assert not (tmp_path / "fieldrig-runs").exists()


def test_an_unknown_device_lists_the_known_ones(tmp_path: Path) -> None:
    plan = BenchPlan.load(FIRST_LIGHT / "bench.toml")
    with plan.open(out=tmp_path) as bench, pytest.raises(UsageError, match=r"`metre`.*meter"):
        bench.device("metre")
    with pytest.raises(BenchFileError, match=r"(?s)`metre`.*did you mean `meter`"):
        BenchPlan.load(FIRST_LIGHT / "bench.toml", ["metre=real"])
