"""Protocols of one's own: the description, the client, the device, what is wrong on purpose, and the bench file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig import BenchPlan, Rig, protocol
from fieldrig.errors import BenchError, BenchFileError, NoAnswer, Unanswered, UsageError

EXAMPLE = Path(__file__).parents[2] / "examples" / "proprietary"
POINTS = {"voltage": 51.2, "current": -3.5, "mode": "discharge", "limit": 10.0}
PACK = protocol.Protocol.load(EXAMPLE / "pack.toml")


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig(clock="virtual") as rig:
        yield rig


def pair(rig: Rig, name: str) -> tuple[protocol.Device, protocol.Client]:
    """A pack and its client in the memory of a rig."""
    device = protocol.Device(f"memory-listen://{name}", PACK, points=POINTS, rig=rig)
    return device, protocol.Client(f"memory://{name}", PACK, rig=rig)


def test_a_request_is_answered_from_the_points(rig: Rig) -> None:
    device, client = pair(rig, "points")
    device.set("voltage", 48.25)
    answer = client.ask("status", address=7)
    assert (answer.message, answer["voltage"], answer["mode"], answer["address"]) == ("state", 48.25, "discharge", 7)
    assert answer.request[:6] == bytes.fromhex("7e 07 00 01 00 00")
    assert answer.latency.latest_ns < 1000, "nothing takes time in memory"
    client.ask("set_limit", address=7, limit=25.5)
    assert device.get("limit") == 25.5
    with pytest.raises(UsageError, match=r"status.* has no field `adress`"):
        client.ask("status", adress=7)
    with pytest.raises(UsageError, match="takes 0 to 255, not 256"):
        client.ask("status", address=256)


def test_silence_is_the_fault_of_a_device_that_was_heard_before_and_of_nobody_else(rig: Rig) -> None:
    device, client = pair(rig, "silence")
    device.habit("no_answer")
    with pytest.raises(Unanswered, match="nothing was ever understood here"):
        client.ask("status", address=1)
    device.habit("no_answer", "default")
    client.ask("status", address=1)
    device.habit("no_answer", 1)
    with pytest.raises(NoAnswer, match="`status` was not answered within 500 ms"):
        client.ask("status", address=1)
    client.ask("status", address=1)


def test_a_late_answer_is_an_event_with_its_instant_and_never_data(rig: Rig) -> None:
    device, client = pair(rig, "late")
    client.ask("status", address=1)
    device.habit("delay", "600ms")
    with pytest.raises(NoAnswer):
        client.ask("status", address=1)
    device.habit("delay", "default")
    device.set("voltage", 40.0)
    asked = client.ask("status", address=1)
    assert asked["voltage"] == 40.0
    late = client.expect(kind="late", after=asked, within="1s")
    assert late["voltage"] == 51.2


def test_what_is_wrong_is_told_with_place_and_expectation(rig: Rig) -> None:
    device, client = pair(rig, "wrong")
    client.ask("status", address=1)
    device.habit("wrong_checksum", 1)
    with pytest.raises(
        NoAnswer, match=r"instead came wrong: state .*checksum at offset \d+ is .. .., .. .. would be right"
    ):
        client.ask("status", address=1)
    device.raw(b"\x01\x02\x03")
    device.send("alarm", {"address": 1, "alarms": ["hot"]})
    alarm = client.expect("alarm", alarms=("hot",), within="1s")
    assert alarm.message == "alarm"
    kinds = [frame.kind for frame in client.frames()]
    assert kinds == ["answer", "wrong", "garbage", "unsolicited"]


def test_frames_can_be_wrong_on_purpose(rig: Rig) -> None:
    right = PACK.encode("status", {"address": 1})
    assert right == PACK.encode("status", {"address": 1}, patch={})
    assert PACK.encode("status", {"address": 1}, patch={"checksum": "wrong"})[:-2] == right[:-2]
    assert PACK.encode("status", {"address": 1}, patch={"cut": 3}) == right[:-3]
    assert PACK.encode("status", {"address": 0x7E}, patch={"plain": True})[:2] == b"\x7e\x7e"
    assert PACK.encode("status", {"address": 0x7E})[:3] == b"\x7e\x7d\x5e"
    long = PACK.encode("status", {"address": 1}, patch={"size": 9})
    assert "size at offset 3 says 9" in PACK.dissect(long + right).render() or long[5] == 9
    with pytest.raises(UsageError, match="no field `chekcsum` to be patched"):
        PACK.encode("status", {"address": 1}, patch={"chekcsum": 1})


def test_a_handler_answers_and_one_that_is_broken_is_the_fault_of_the_bench(rig: Rig) -> None:
    def answer(request: protocol.Frame) -> protocol.Reply:
        if request.message == "set_limit":
            return ("refusal", {"reason": "range"}) if request["limit"] > 100 else ("done", {}, {"checksum": "wrong"})
        return None

    with protocol.Device("memory-listen://handler", PACK, points=POINTS, handler=answer, rig=rig):
        client = protocol.Client("memory://handler", PACK, rig=rig)
        assert client.ask("status", address=1).message == "state"
        assert client.ask("set_limit", address=1, limit=200.0)["reason"] == "range"
        with pytest.raises(NoAnswer):
            client.ask("set_limit", address=1, limit=1.0)
    broken = protocol.Device("memory-listen://broken", PACK, points=POINTS, handler=lambda _: 1 / 0, rig=rig)  # type: ignore[arg-type, return-value]
    client = protocol.Client("memory://broken", PACK, rig=rig)
    with pytest.raises(Unanswered):
        client.ask("status", address=1)
    with pytest.raises(BenchError, match="ZeroDivisionError"):
        broken.close()


@pytest.mark.parametrize(
    "carrier",
    ["tcp://127.0.0.1:0", "pty://?line=115200+8N1", "unix://{tmp}/pack", "rfc2217://127.0.0.1:0?line=115200+8N1"],
)
def test_it_is_spoken_over_every_carrier(carrier: str, tmp_path: Path) -> None:
    with protocol.Device(carrier.format(tmp=tmp_path), PACK, points=POINTS) as device:
        with protocol.Client(device.url, PACK) as client:
            for address in (1, 0x7E, 0x7D):
                assert client.ask("status", address=address, timeout="10s")["address"] == address


def test_a_description_that_is_wrong_is_told_with_its_place(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    text = (tmp_path / "pack.toml").read_text()
    (tmp_path / "pack.toml").write_text(text.replace('checksum = "crc-16/modbus"', 'checksum = "crc-16/modbuss"'))
    with pytest.raises(BenchFileError, match="unknown checksum `crc-16/modbuss`") as told:
        BenchPlan.load(tmp_path / "bench.toml")
    assert (Path(told.value.facts["file"]).name, told.value.facts["line"]) == ("pack.toml", 8)
    assert told.value.hint == "did you mean `crc-16/modbus`?"
    (tmp_path / "pack.toml").write_text(text.replace('limit = "{limit}"', 'limit = "{limits}"'))
    with pytest.raises(BenchFileError, match="stands for nothing"):
        BenchPlan.load(tmp_path / "bench.toml")
    os.remove(tmp_path / "pack.toml")
    with pytest.raises(BenchFileError, match=r"there is no file pack\.toml beside the bench file"):
        BenchPlan.load(tmp_path / "bench.toml")


def test_traces_have_the_frames_in_words(tmp_path: Path) -> None:
    from fieldrig._core import export_trace

    with Rig(clock="virtual", folder=tmp_path) as rig:
        _, client = pair(rig, "traced")
        client.ask("status", address=3)
    export_trace(tmp_path / "trace.pcapng", tmp_path / "trace.jsonl")
    lines = (tmp_path / "trace.jsonl").read_text()
    assert '"protocol":"pack","summary":"state voltage=51.2 V current=-3.5 A mode=\\"discharge\\" alarms=[]"' in lines


def test_checksums_have_the_names_of_the_catalogue() -> None:
    assert protocol.checksum("CRC-16/CCITT-FALSE", b"123456789") == 0x29B1
    assert len(protocol.checksums()) > 150
    with pytest.raises(UsageError, match="unknown checksum `crc-16/modbsu`"):
        protocol.checksum("crc-16/modbsu", b"")


def test_a_bench_guards_the_messages_to_a_real_device(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE / "pack.toml", tmp_path)
    with protocol.Device("tcp://127.0.0.1:0", PACK, points=POINTS) as device:
        bench = (
            '[bench]\nname = "rack"\n[link.serial]\nprotocol = "pack.toml"\n'
            f'real = {{ port = "{device.url}" }}\n[dut.pack]\nlinks = {{ serial = {{}} }}\nallow = ["restart"]\n'
        )
        (tmp_path / "bench.toml").write_text(bench)
        with BenchPlan.load(tmp_path / "bench.toml", ["real"]).open(tmp_path / "run") as running:
            link = running.device("pack").serial
            assert link.ask("status", address=1)["voltage"] == 51.2
            for act in (
                lambda: link.ask("set_limit", address=1, limit=3.0),
                lambda: link.send("set_limit", address=1, limit=3.0),
                lambda: link.ask("status", address=1, patch={"checksum": "wrong"}),
                lambda: link.raw(b"\x7e"),
            ):
                with pytest.raises(UsageError, match='does not allow .*, which needs "write"'):
                    act()
            assert device.get("limit") == 10.0
