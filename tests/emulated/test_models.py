"""Devices whose models are written in Python, in the native engine: exact on virtual time, sound on real time."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fieldrig import Rig, _core, mqtt
from fieldrig.errors import BenchFileError, UsageError
from fieldrig.model import watchdog
from fieldrig.serial import Console

MODELS = Path(__file__).parents[2] / "fixtures" / "models"
PROGRAM = Path(__file__).parent / "programs" / "runs_models.py"


class Up:
    """A bench that is up, with its devices on."""

    def __init__(self, rig: Rig, bench: Path) -> None:
        self.rig = rig
        self.running = _core.bench.bring_up(rig, _core.bench.load(str(bench), []))
        for name in self.running.devices:
            self[name].power_on()

    def __getitem__(self, name: str) -> _core.device.Device:
        device = self.running.device(name)
        assert device is not None
        return device

    def url(self, device: str, link: str) -> str:
        return self.running.resolve(device, link).url


Raise = Callable[..., Up]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Raise]:
    """Brings up a bench of one device `dut` with this model, on a console (and a broker)."""
    with ExitStack() as opened:

        def bring_up(model: str, clock: str = "virtual", links: str = "console", settings: str = "") -> Up:
            head = "from fieldrig.model import *\n"
            (tmp_path / "model.py").write_text(head + textwrap.dedent(model))
            used = ", ".join(f"{link} = {{}}" if link == "console" else f'{link} = "client"' for link in links.split())
            (tmp_path / "bench.toml").write_text(
                f'[bench]\nname = "b"\nclock = "{clock}"\n'
                '[link.console]\nprotocol = "console"\nline = "115200 8N1"\n'
                '[link.uplink]\nprotocol = "mqtt5"\nbase = "site"\nemulated = { broker = "embedded" }\n'
                f'[dut.dut]\nmodel = "model.py:Tested"\nlinks = {{ {used} }}\n{settings}\n'
            )
            rig = opened.enter_context(Rig(clock=clock, folder=str(tmp_path / "run")))
            return Up(rig, tmp_path / "bench.toml")

        yield bring_up


def log_of(folder: Path) -> list[dict[str, Any]]:
    """The run log."""
    (file,) = folder.glob("*.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_gateway_polls_and_publishes_at_exact_instants() -> None:
    with Rig(clock="virtual") as rig:
        bench = Up(rig, MODELS / "bench.toml")
        with mqtt.Client(bench.url("gateway", "uplink"), rig=rig) as client, client.watch("#", qos=1) as values:
            first = values.expect(topic="site/gw/meter1/voltage", json={"v": 230.4}, within="2s")
            bench["meter2"].set("voltage", 231.7)
            changed = values.expect(topic="site/gw/meter2/voltage", json={"v": 231.7}, within="2s")
            again = values.expect(topic="site/gw/meter1/voltage", json={"v": 230.4}, after=changed, within="2s")
        # It boots for 200 ms. A request of 8 and an answer of 7 bytes at 11 bits take 8.6 and 8 ms, with t3.5 between.
        assert 0.2 < first.at.earliest < 0.23
        polls = (again.at.earliest_ns - first.at.earliest_ns) / 1e9
        assert polls == pytest.approx(round(polls), abs=0.02)
        rig.sleep("60s")
        gateway = bench["gateway"]
        assert (gateway.get("polls"), gateway.get("silent"), gateway.raised) == (61, 61, None)


def test_the_same_bench_leaves_the_same_run_log_each_time(tmp_path: Path) -> None:
    def once(folder: Path) -> list[str]:
        with Rig(clock="virtual", folder=str(folder)) as rig:
            bench = Up(rig, MODELS / "bench.toml")
            with mqtt.Client(bench.url("gateway", "uplink"), rig=rig) as client, client.watch("#", qos=1):
                rig.sleep("20s")
            bench["meter1"].power_off()
            rig.sleep("20s")
            bench["gateway"].power_off()
            rig.sleep("1s")
            bench["gateway"].power_on()
            rig.sleep("20s")
        (file,) = folder.glob("*.jsonl")
        return file.read_text().splitlines()

    runs = [once(tmp_path / name) for name in "ab"]
    assert len(runs[0]) > 100
    assert runs[0] == runs[1]


def test_the_model_of_the_documentation_works_as_it_is_written(tmp_path: Path) -> None:
    text = (MODELS.parents[1] / "docs" / "models.md").read_text()
    (tmp_path / "gateway.py").write_text(text.split("```python\n")[1].split("```")[0])
    shutil.copy(MODELS / "meter.toml", tmp_path)
    bench_file = (MODELS / "bench.toml").read_text().replace("service", "console")
    (tmp_path / "bench.toml").write_text(
        bench_file.replace("settings = { meters = 3 }", 'settings = { interval = "2s" }')
    )
    with Rig(clock="virtual") as rig:
        bench = Up(rig, tmp_path / "bench.toml")
        with (
            mqtt.Client(bench.url("gateway", "uplink"), rig=rig) as client,
            client.watch("#", qos=1) as values,
            Console(bench.url("gateway", "console"), rig=rig) as console,
        ):
            values.expect(topic="site/gw/meter2/voltage", json={"v": 230.4}, within="1s")
            rig.sleep("11s")
            console.send("show")
            console.expect("polls 6", within="1s")
        assert bench["gateway"].raised is None


def test_the_same_model_works_on_real_time(tmp_path: Path) -> None:
    for file in MODELS.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    bench_file = tmp_path / "bench.toml"
    bench_file.write_text(bench_file.read_text().replace('clock = "virtual"', 'clock = "real"'))
    with Rig() as rig:
        bench = Up(rig, bench_file)
        with (
            mqtt.Client(bench.url("gateway", "uplink"), rig=rig) as client,
            client.watch("#", qos=1) as values,
            Console(bench.url("gateway", "service"), rig=rig) as console,
        ):
            values.expect(topic="site/gw/meter2/voltage", json={"v": 230.4}, within="30s")
            console.send("polls")
            console.expect(r"polls \d+", within="30s")
        assert bench["gateway"].raised is None


def test_a_model_that_raises_takes_its_device_down_and_says_where(up: Raise, tmp_path: Path) -> None:
    bench = up("""
        class Tested(Model):
            points = {"setpoint": Point("float", access="read-write")}
            def on_change(self, point, value):
                if value == 13:
                    raise ValueError("13 is no setpoint")
    """)
    device = bench["dut"]
    device.set("setpoint", 12.0)
    assert (device.power, device.raised) == ("run", None)
    device.set("setpoint", 13.0)
    assert device.power == "off"
    assert device.raised == "ValueError: 13 is no setpoint (model.py, line 7, in on_change)"
    device.power_on()
    assert device.power == "run"
    assert device.raised is not None, "until somebody takes note"
    device.clear_raised()
    assert device.raised is None
    bench.rig.stop()
    records = {record["kind"]: record["fields"] for record in log_of(tmp_path / "run")}
    assert records["model.raised"]["device"] == "dut"
    assert 'raise ValueError("13 is no setpoint")' in records["model.traceback"]["trace"]


def test_a_model_that_raises_at_power_on_never_runs(up: Raise) -> None:
    bench = up("""
        class Tested(Model):
            def __init__(self):
                self.set("nothing", 1)
    """)
    assert bench["dut"].power == "off"
    assert "USAGE: there is no point `nothing` (model.py, line 5, in __init__)" in str(bench["dut"].raised)


def test_points_refuse_what_they_do_not_take_where_the_model_sets_them(up: Raise) -> None:
    bench = up("""
        class Tested(Model):
            points = {"level": Point("int", range=(0, 9)), "note": Point("text")}
            async def run(self):
                notes = []
                for value in (10, "x", 1.5):
                    try:
                        self.set("level", value)
                    except Exception as error:
                        notes.append(str(error))
                self.set("note", "; ".join(notes))
    """)
    level = "point `level` holds Int values"
    expected = f'USAGE: point `level` takes 0 to 9, not 10; USAGE: {level}, "x" is none; USAGE: {level}, 1.5 is none'
    assert bench["dut"].get("note") == expected


def test_points_go_back_and_the_model_sees_it(up: Raise) -> None:
    bench = up("""
        class Tested(Model):
            points = {"a": Point("int", initial=3), "b": Point("int"), "seen": Point("text")}
            def on_change(self, point, value):
                self.set("seen", f"{self.get('seen')}{point}={value} ")
    """)
    device = bench["dut"]
    device.set("a", 5)
    at = device.reset_points()
    assert (device.get("a"), device.get("b")) == (3, 0)
    assert device.get("seen") == "a=3 seen= ", "its own points went back, too, before it was told"
    assert at == bench.rig.now()


def test_a_model_cannot_wait_for_the_bench_it_is_part_of(up: Raise) -> None:
    bench = up("""
        from fieldrig import Rig
        class Tested(Model):
            async def run(self):
                Rig().sleep("1s")
    """)
    assert "a model cannot wait for the bench it is part of" in str(bench["dut"].raised)


def test_a_turn_cannot_be_kept(up: Raise) -> None:
    bench = up("""
        class Tested(Model):
            points = {"a": Point("int")}
            async def run(self):
                turn = self._machine.turn()
                await self.sleep("1s")
                turn.set("a", 1)
    """)
    bench.rig.sleep("2s")
    assert "this turn of the device is over" in str(bench["dut"].raised)


def test_messages_and_readiness_reach_the_model(up: Raise) -> None:
    bench = up(
        """
        class Tested(Model):
            faces = {"uplink": {"commands": ["{base}/cmd"]}}
            async def run(self):
                await self.uplink.until_ready()
                await self.uplink.publish("{base}/hello", "up", qos=1)
            async def on_message(self, link, topic, payload):
                await self.sleep("3s")
                await link.publish("{base}/echo", payload[::-1])
        """,
        links="uplink",
    )
    with mqtt.Client(bench.url("dut", "uplink"), rig=bench.rig) as client, client.watch("#") as seen:
        bench["dut"].power_off()
        bench["dut"].power_on()
        seen.expect(topic="site/hello", payload="up", within="1s")
        sent = client.publish("site/cmd", "abc")
        echo = seen.expect(topic="site/echo", payload="cba", within="5s")
        assert 3.0 <= sent.until(echo).latest < 3.001


def test_a_lost_broker_is_raised_and_the_model_goes_on_with_the_next(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        textwrap.dedent("""
        from fieldrig.model import *
        class Tested(Model):
            faces = {"uplink": {"commands": ["go"], "reconnect": {"first": "10ms", "longest": "50ms"}}}
            async def run(self):
                self.lost = 0
                while True:
                    try:
                        await self.uplink.publish("beat", json={"lost": self.lost}, qos=1)
                        await self.sleep("5ms")
                    except Lost:
                        self.lost += 1
                        await self.uplink.until_ready()
        """)
    )
    with Rig() as rig:
        broker = mqtt.Broker(rig=rig)
        (tmp_path / "bench.toml").write_text(
            '[bench]\nname = "b"\n[link.uplink]\nprotocol = "mqtt5"\n'
            f'emulated = {{ broker = "{broker.url}" }}\n'
            '[dut.dut]\nmodel = "model.py:Tested"\nlinks = { uplink = "client" }\n'
        )
        bench = Up(rig, tmp_path / "bench.toml")
        with mqtt.Client(broker.url, rig=rig) as client, client.watch("beat", qos=1) as beats:
            beats.expect(within="30s")
        broker.close()
        with (
            mqtt.Broker(url=broker.url.replace("mqtt://", "tcp-listen://"), rig=rig) as second,
            mqtt.Client(second.url, rig=rig) as client,
            client.watch("beat", qos=1) as beats,
        ):
            lost = beats.expect(within="30s").json()["lost"]
            # The first attempt had no connection yet, the one under way was lost with the broker.
            assert lost >= 2
        assert bench["dut"].raised is None


def test_a_model_that_never_comes_back_is_ended_on_real_time(up: Raise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "TICK", 0.02)
    bench = up(
        """
        class Tested(Model):
            points = {"go": Point("bool", access="read-write")}
            async def on_change(self, point, value):
                await self.sleep("1ms")
                while True:
                    pass
        """,
        clock="real",
    )
    device = bench["dut"]
    device.set("go", True)
    # The device is busy until it is ended: `power` waits its turn.
    while device.power == "run":
        pass
    assert str(device.raised).startswith("fieldrig.model.watchdog.NeverReturns: the model ran for")


@pytest.mark.parametrize(
    ("model", "settings", "complaint"),
    [
        ("class Other(Model): pass", "", "model.py: there is no class `Tested`; it has: Other"),
        ("class Tested(Model): pass", "settings = { x = 1 }", "model.py: Tested has no setting `x`; it takes: none"),
        ("class Tested(Model):\n    points = {'a': Point('int', initial='x')}", "", "`initial` in"),
        ("class Tested(Model):\n    points = {'a': Point('int', access='all')}", "", "access"),
        ("class Tested(Model):\n    faces = {'console': {'promt': '>'}}", "", "unknown key `promt` in [face.console]"),
        ("def x(", "", "model.py: line 2:"),
    ],
)
def test_mistakes_in_a_model_are_mistakes_of_the_bench(up: Raise, model: str, settings: str, complaint: str) -> None:
    with pytest.raises(BenchFileError) as caught:
        up(model, settings=settings)
    assert complaint in str(caught.value)
    assert str(caught.value).count("model.py: ") == 1, "the file is named once"


def test_any_pdu_reaches_a_meter_and_any_exception_the_model(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        textwrap.dedent("""
        from fieldrig.model import *
        class Tested(Model):
            points = {"note": Point("text")}
            async def run(self):
                pdu = await self.bus.raw(bytes([4, 0, 0, 0, 1]), unit=1)
                try:
                    await self.bus.write_register(7, 1, unit=1)
                except ExceptionAnswer as error:
                    self.set("note", f"{pdu.hex()} {error.code}")
        """)
    )
    shutil.copy(MODELS / "meter.toml", tmp_path)
    (tmp_path / "bench.toml").write_text(
        '[bench]\nname = "b"\nclock = "virtual"\n'
        '[link.bus]\nprotocol = "modbus-rtu"\nline = "9600 8E1"\nrole = "devices"\n'
        '[peer.meter]\nmodel = "meter.toml"\nlink = "bus"\nface = "modbus"\nunit = 1\n'
        '[dut.dut]\nmodel = "model.py:Tested"\nlinks = { bus = "client" }\n'
    )
    with Rig(clock="virtual") as rig:
        bench = Up(rig, tmp_path / "bench.toml")
        rig.sleep("1s")
        assert (bench["dut"].get("note"), bench["dut"].raised) == ("04020900 2", None)


def test_unknown_links_are_named_by_the_model(up: Raise) -> None:
    bench = up("""
        class Tested(Model):
            async def run(self):
                await self.uplink.until_ready()
    """)
    assert "Tested has no attribute and no link `uplink`; its links: console" in str(bench["dut"].raised)


def test_a_link_with_a_name_that_every_model_uses_breaks_the_bench(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("from fieldrig.model import *\nclass Tested(Model): pass\n")
    (tmp_path / "bench.toml").write_text(
        '[bench]\nname = "b"\nclock = "virtual"\n[link.log]\nprotocol = "console"\nline = "115200 8N1"\n'
        '[dut.dut]\nmodel = "model.py:Tested"\nlinks = { log = {} }\n'
    )
    with Rig(clock="virtual") as rig:
        raised = Up(rig, tmp_path / "bench.toml")["dut"].raised
    assert raised == (
        "a device with a Python model cannot have a link named `log`: every model has something of this name"
    )


def run_program(case: str, folder: Path) -> tuple[int, str, str]:
    command = [sys.executable, str(PROGRAM), case, str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return ended.returncode, ended.stdout, ended.stderr


def test_ctrl_c_in_a_model_on_virtual_time_comes_out_of_the_call(tmp_path: Path) -> None:
    code, out, err = run_program("interrupt-virtual", tmp_path)
    assert (code, err) == (0, "")
    assert out.splitlines() == ["interrupted at 0.05", "off KeyboardInterrupt: ", "goes on"]


def test_ctrl_c_while_a_model_hangs_on_real_time_ends_the_call_and_the_model(tmp_path: Path) -> None:
    code, out, err = run_program("interrupt-real", tmp_path)
    assert (code, err) == (0, "")
    assert out.splitlines() == ["interrupted", "off fieldrig.model.watchdog.NeverReturns"]


@pytest.mark.parametrize(("case", "code"), [("exit", 0), ("raise", 3), ("collected", 0), ("fork", 0)])
def test_a_process_ends_in_order_whatever_its_models_do(tmp_path: Path, case: str, code: int) -> None:
    expected = {"raise": "", "fork": "child 0 parent run\nleaving\n"}.get(case, "leaving\n")
    assert run_program(case, tmp_path) == (code, expected, "")


def test_tests_and_models_do_not_wait_for_each_other_for_ever(up: Raise) -> None:
    """The test thread computes, sets and reads while the model runs on its own thread."""
    bench = up(
        """
        class Tested(Model):
            points = {"rounds": Point("int"), "goal": Point("int", access="read-write"), "seen": Point("int")}
            async def run(self):
                while True:
                    self.set("rounds", self.get("rounds") + 1)
                    await self.sleep("200us")
            def on_change(self, point, value):
                self.set("seen", value)
        """,
        clock="real",
    )
    device = bench["dut"]
    for goal in range(300):
        device.set("goal", goal)
        assert device.get("seen") == goal
        sum(range(2000))
    assert device.raised is None


def test_the_class_without_a_bench_is_refused_what_needs_one() -> None:
    from fieldrig.model import Model, check

    machine = check(Model, {}).machine("d", [])
    with pytest.raises(UsageError, match="between the calls of its device"):
        machine.turn()


# In pytest.

BROKEN = """
from fieldrig.model import Model, Point

class Tested(Model):
    points = {"setpoint": Point("float", access="read-write"), "note": Point("text")}
    boot = "10ms"
    def __init__(self, breaks=""):
        if breaks == "at power-on":
            raise RuntimeError("no memory")
    def on_change(self, point, value):
        if value == 13:
            raise ValueError("13 is no setpoint")
"""


def run_pytest(folder: Path, tests: str, settings: str = "") -> str:
    """Runs tests on a bench of one device on a console; gives the output."""
    (folder / "model.py").write_text(BROKEN)
    (folder / "bench.toml").write_text(
        '[bench]\nname = "b"\n[link.console]\nprotocol = "console"\nline = "115200 8N1"\n'
        f'[dut.meter]\nmodel = "model.py:Tested"\nlinks = {{ console = "devices" }}\n{settings}\n'
    )
    (folder / "test_it.py").write_text(textwrap.dedent(tests))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "test_it.py"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return ended.stdout


def test_a_model_that_breaks_is_the_fault_of_the_bench_whatever_the_test_says(tmp_path: Path) -> None:
    out = run_pytest(
        tmp_path,
        """
        import pytest

        def test_passes_on_a_broken_bench(meter):
            meter.set("setpoint", 13.0)

        def test_has_power_again(meter):
            meter.set("setpoint", 1.0)
            assert meter.get("setpoint") == 1.0

        def test_accuses_the_device(meter):
            meter.set("setpoint", 13.0)
            meter.console.expect("never", within="10ms")

        def test_hides_behind_a_skip(meter):
            meter.set("setpoint", 13.0)
            pytest.skip("whatever")

        def test_had_proven_a_fail(meter, measure):
            measure("before", 2.0, unit="V", max=1.0)
            meter.set("setpoint", 13.0)

        def test_measures_on_a_broken_bench(meter, measure):
            meter.set("setpoint", 13.0)
            meter.console.expect_none("never", for_="50ms")
            measure("after", 2.0, unit="V", max=1.0)
        """,
    )
    why = "BENCH: the model of meter broke, and meter lost power with it: ValueError: 13 is no setpoint (model.py, "
    for name in ("passes_on_a_broken_bench", "accuses_the_device", "hides_behind_a_skip"):
        assert f"FAILED test_it.py::test_{name} - BENCH" in out, out
    assert out.count(why) >= 3, out
    assert "PASSED test_it.py::test_has_power_again" in out
    summary = out.split("short test summary info")[1]
    assert "FAILED test_it.py::test_measures_on_a_broken_bench - BENCH" in summary, out
    assert "FAILED test_it.py::test_had_proven_a_fail - DUT: measurements failed: before" in summary, out
    assert f"then: {why}" in out, out
    assert summary.count(" - DUT:") == 1, out


def test_a_model_that_breaks_at_power_on_says_so(tmp_path: Path) -> None:
    out = run_pytest(tmp_path, "def test_it(meter): pass\n", settings='settings = { breaks = "at power-on" }')
    assert "BENCH: the model of meter broke, and meter lost power with it: RuntimeError: no memory (model.py" in out


def test_tests_on_virtual_time_leave_the_same_run_log_each_time(tmp_path: Path) -> None:
    test = """
        import pytest

        @pytest.mark.parametrize("voltage", [231.7, 228.4])
        def test_a_change_is_forwarded(gateway, bench, measure, voltage):
            with gateway.uplink.watch("site/gw/+/voltage", qos=1) as values:
                change = bench.peers["meter1"].set("voltage", voltage)
                value = values.expect(topic="site/gw/meter1/voltage", json={"v": voltage}, after=change, within="3s")
                measure("latency", change.until(value), max="2s")
                values.expect_none(topic="site/gw/meter3/voltage", for_="1min")
            gateway.service.send("polls")
            gateway.service.expect(r"polls \\d+", within="2s")
    """
    logs = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        shutil.copytree(MODELS, folder)
        (folder / "test_it.py").write_text(textwrap.dedent(test))
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--fieldrig-out", "run", "test_it.py"]
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        (log,) = (folder / "run").rglob("run.jsonl")
        logs.append(log.read_text())
    assert logs[0].count('"test.verdict"') == 2
    assert logs[0] == logs[1]
