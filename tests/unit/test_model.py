"""Models in Python on a device that is only pretended: the scheduler, the links, the errors."""

from __future__ import annotations

import asyncio
import sys
import textwrap
import types
from collections.abc import Callable
from typing import Any

import pytest

from fieldrig.errors import UsageError
from fieldrig.model import (
    Cancelled,
    ExceptionAnswer,
    Loaded,
    Lost,
    Machine,
    Malformed,
    Model,
    ModelError,
    NoAnswer,
    Point,
    Refused,
    check,
    load,
    watchdog,
)

MS = 1_000_000
S = 1_000 * MS

LINKS = [("bus485", "modbus-rtu", "client"), ("uplink", "mqtt5", "client"), ("console", "console", "devices")]


class Pretended:
    """A device that is only pretended: it has a clock, points, and keeps what the model says."""

    def __init__(self, model: type[Model], links: list[tuple[str, ...]] = LINKS, **settings: Any) -> None:
        self.machine: Machine = check(model, settings).machine("gateway", links)
        self.now = 0
        self.values: dict[str, Any] = {name: point.initial or 0 for name, point in model.points.items()}
        self.said: list[tuple[int, str]] = []
        self.faces: list[str] = []
        self.asked: list[tuple[int, str, dict[str, Any]]] = []
        self.logged: list[tuple[str, dict[str, Any]]] = []
        self.failed: list[tuple[str, str]] = []
        self.next: int | None = None

    def get(self, point: str, /) -> Any:
        return self.values[point]

    def set(self, point: str, value: Any, /) -> None:
        if point not in self.values:
            raise UsageError(f"there is no point `{point}`")
        self.values[point] = value

    def line(self, face: str, text: str, /) -> None:
        self.said.append((self.now, text))
        self.faces.append(face)

    def ask(self, face: str, request: Any, /) -> None:
        self.asked.append((self.now, face, dict(request)))

    def log(self, kind: str, fields: Any, /) -> None:
        self.logged.append((kind, dict(fields)))

    def fail(self, message: str, trace: str, /) -> None:
        self.failed.append((message, trace))

    def power_on(self) -> Pretended:
        runs_at, self.next = self.machine.boot(self)
        while self.next is not None and self.next < runs_at:
            self._due()
        self.now = runs_at
        self.next = self.machine.due(self)
        self.next = self.machine.run(self)
        return self

    def _due(self) -> None:
        assert self.next is not None
        self.now = max(self.now, self.next)
        self.next = self.machine.due(self)

    def until(self, at: int) -> None:
        """Lets time pass."""
        while self.next is not None and self.next <= at:
            self._due()
        self.now = at

    def hear(self, face: str, kind: str, what: Any = None) -> None:
        self.next = self.machine.heard(self, face, kind, what)

    def answer(self, number: int = -1, **what: Any) -> None:
        self.hear(self.asked[number][1], "answer", {"token": self.asked[number][2]["token"], **what})

    def power_off(self) -> None:
        self.machine.power_off(self)


def device_of(run: Callable[[Any], Any], **settings: Any) -> Pretended:
    """A device whose model has this `run`."""
    model = type("Tested", (Model,), {"run": run, "points": {"count": Point("int"), "other": Point("int")}})
    return Pretended(model, **settings).power_on()


def test_sleeping_tasks_go_on_at_their_instants_and_ties_in_the_order_they_were_set() -> None:
    order: list[tuple[str, float]] = []

    async def run(self: Model) -> None:
        async def beat(name: str, period: str) -> None:
            while True:
                await self.sleep(period)
                order.append((name, self.now))

        self.spawn(beat("b", "20ms"))
        self.spawn(beat("a", "10ms"))
        await self.sleep("40ms")
        order.append(("run", self.now))

    device = device_of(run)
    device.until(40 * MS)
    # At 20 ms `b` set its timer first (at 0), at 40 ms `run` (at 0), then `b` (at 20 ms), then `a` (at 30 ms).
    assert order == [
        ("a", 0.01), ("b", 0.02), ("a", 0.02), ("a", 0.03), ("run", 0.04), ("b", 0.04), ("a", 0.04),
    ]  # fmt: skip


def test_every_keeps_its_slots_and_leaves_out_those_that_were_missed() -> None:
    slots: list[tuple[int, float]] = []

    async def run(self: Model) -> None:
        async for slot in self.every("100ms"):
            slots.append((slot, self.now))
            await self.sleep("250ms" if slot == 1 else "30ms")

    device_of(run).until(600 * MS)
    assert slots == [(0, 0.0), (1, 0.1), (4, 0.4), (5, 0.5), (6, 0.6)]


def test_a_period_of_nothing_is_refused() -> None:
    async def run(self: Model) -> None:
        self.every("0s")

    assert "every('0s'): the period is nothing" in device_of(run).failed[0][0]


def test_a_bare_number_for_a_duration_is_refused() -> None:
    async def run(self: Model) -> None:
        await self.sleep(1)  # type: ignore[arg-type]

    assert 'duration=1 has no unit: write a duration such as duration="1s"' in device_of(run).failed[0][0]


def test_requests_have_all_that_a_face_needs_and_answers_find_their_way() -> None:
    got: list[Any] = []

    async def run(self: Model) -> None:
        got.append(await self.bus485.read_input(address=3, count=2, unit=7, timeout="300ms"))
        got.append(await self.bus485.write_registers(1, [5, 6], unit=2))

    device = device_of(run)
    read = {"token": 1, "unit": 7, "function": "read_input", "address": 3, "count": 2, "timeout": 300 * MS}
    assert device.asked == [(0, "bus485", read)]
    device.answer(values=(10, 11))
    write = {"token": 2, "unit": 2, "function": "write_registers", "address": 1, "values": [5, 6], "timeout": S}
    assert device.asked[1] == (0, "bus485", write)
    device.answer(values=())
    assert got == [(10, 11), ()]


def test_any_pdu_can_be_asked() -> None:
    got: list[bytes] = []

    async def run(self: Model) -> None:
        got.append(await self.bus485.raw(b"\x41\x01", unit=3))

    device = device_of(run)
    assert device.asked[0][2] == {"token": 1, "unit": 3, "function": "raw", "pdu": b"\x41\x01", "timeout": S}
    device.answer(values=(), pdu=b"\x41\x02")
    assert got == [b"\x41\x02"]


@pytest.mark.parametrize(
    ("function", "arguments", "expected"),
    [
        ("read_holding", (1,), {"count": 1}),
        ("read_coils", (1, 9), {"count": 9}),
        ("read_discrete_inputs", (1, 9), {"count": 9}),
        ("write_register", (1, 40), {"value": 40}),
        ("write_coil", (1, True), {"value": True}),
        ("write_coils", (1, [True, False]), {"values": [True, False]}),
    ],
)
def test_every_function_asks_for_itself(function: str, arguments: tuple[Any, ...], expected: dict[str, Any]) -> None:
    async def run(self: Model) -> None:
        await getattr(self.bus485, function)(*arguments)

    request = device_of(run).asked[0][2]
    assert request == {"token": 1, "unit": 1, "function": function, "address": 1, "timeout": S, **expected}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"error": "no_answer", "text": "unit 1 said nothing"}, NoAnswer),
        ({"error": "exception", "code": 2, "text": "illegal data address"}, ExceptionAnswer),
        ({"error": "malformed", "text": "bad CRC"}, Malformed),
        ({"error": "lost", "text": "reset"}, Lost),
        ({"error": "refused", "text": "too many"}, Refused),
        ({"error": "something new"}, ModelError),
    ],
)
def test_errors_of_answers_are_exceptions(answer: dict[str, Any], expected: type[ModelError]) -> None:
    raised: list[ModelError] = []

    async def run(self: Model) -> None:
        try:
            await self.bus485.read_input(0)
        except ModelError as error:
            raised.append(error)

    device_of(run).answer(**answer)
    assert [type(error) for error in raised] == [expected]
    assert str(raised[0]) == answer.get("text", "something new")
    assert getattr(raised[0], "code", 2) == 2


def test_publishing_takes_text_bytes_or_json_and_goes_out_at_once() -> None:
    async def run(self: Model) -> None:
        first = self.uplink.publish("{base}/a", "1", qos=1)
        second = self.uplink.publish("b", json={"v": None}, retain=True)
        await first
        await second
        await self.uplink.publish("c", b"\x00")

    device = device_of(run)
    assert [(at, face) for at, face, _ in device.asked] == [(0, "uplink")] * 2
    assert device.asked[0][2] == {"token": 1, "topic": "{base}/a", "payload": "1", "qos": 1, "retain": False}
    assert device.asked[1][2] == {"token": 2, "topic": "b", "payload": '{"v": null}', "qos": 0, "retain": True}
    device.answer(1)
    assert len(device.asked) == 2
    device.answer(0)
    assert device.asked[2][2]["payload"] == b"\x00"


@pytest.mark.parametrize(
    ("keywords", "complaint"),
    [({"payload": "1", "json": 1}, "a payload or json=, not both"), ({"qos": 2}, "publish(qos=2)")],
)
def test_a_message_that_cannot_be_is_refused(keywords: dict[str, Any], complaint: str) -> None:
    async def run(self: Model) -> None:
        await self.uplink.publish("t", **keywords)

    assert complaint in device_of(run).failed[0][0]


def test_readiness_of_an_mqtt_link_follows_its_face() -> None:
    seen: list[Any] = []

    class Hooked(Model):
        async def run(self) -> None:
            seen.append(self.uplink.ready)
            await self.uplink.until_ready()
            seen.append(("up", self.uplink.ready, self.bus485.ready))

        def on_ready(self, link: Any) -> None:
            seen.append(("ready", link.name))

        def on_gone(self, link: Any) -> None:
            seen.append(("gone", link.ready))

    device = Pretended(Hooked).power_on()
    device.hear("uplink", "ready")
    device.hear("uplink", "gone")
    assert seen == [False, ("ready", "uplink"), ("up", True, True), ("gone", False)]


def test_hooks_hear_lines_messages_and_changes_and_may_wait() -> None:
    seen: list[Any] = []

    class Hooked(Model):
        points = {"setpoint": Point("float")}  # noqa: RUF012

        async def on_message(self, link: Any, topic: str, payload: bytes) -> None:
            await self.sleep("10ms")
            seen.append((self.now, link.name, topic, payload))

        def on_line(self, link: Any, line: str) -> None:
            link.line(f"you said {line}")

        def on_change(self, point: str, value: Any) -> None:
            seen.append((point, value))

    device = Pretended(Hooked).power_on()
    device.hear("uplink", "message", ("t", b"x"))
    device.hear("console", "line", "ver")
    device.next = device.machine.changed(device, "setpoint", 4.0)
    device.until(20 * MS)
    assert seen == [("setpoint", 4.0), (0.01, "uplink", "t", b"x")]
    assert device.said == [(0, "you said ver")]


def test_boot_lines_are_spread_over_the_boot() -> None:
    class Booting(Model):
        boot = "90ms"
        boot_lines = ("rom", {"at": "40ms", "text": "ram ok"}, "boot ok")

        async def run(self) -> None:
            self.console.line(f"up after {self.uptime}")

    device = Pretended(Booting)
    device.now = S
    device.power_on()
    texts = [(S + 30 * MS, "rom"), (S + 40 * MS, "ram ok"), (S + 90 * MS, "boot ok"), (S + 90 * MS, "up after 0.09")]
    assert device.said == texts


def test_power_off_ends_every_task_and_a_new_object_begins() -> None:
    seen: list[Any] = []

    class Kept(Model):
        def __init__(self, step: int = 1) -> None:
            self.step, self.kept = step, 0

        async def run(self) -> None:
            try:
                while True:
                    self.kept += self.step
                    await self.sleep("1s")
            finally:
                seen.append(self.kept)

    device = Pretended(Kept, step=2).power_on()
    device.until(2 * S)
    device.power_off()
    device.power_on()
    device.power_off()
    assert seen == [6, 2]
    with pytest.raises(UsageError, match="between the calls of its device"):
        device.machine.turn()


def test_what_a_model_does_is_the_same_each_time() -> None:
    def once() -> list[Any]:
        async def run(self: Model) -> None:
            while True:
                await self.sleep(f"{self.random.randint(1, 50)}ms")
                self.uplink.publish("t", str(self.random.random()))

        device = device_of(run)
        device.until(2 * S)
        return device.asked

    first = once()
    assert len(first) > 20
    assert first == once()


def test_each_boot_has_its_own_random_numbers() -> None:
    drawn: list[float] = []

    async def run(self: Model) -> None:
        drawn.append(self.random.random())

    device = device_of(run)
    device.power_off()
    device.power_on()
    assert drawn[0] != drawn[1]


def test_an_error_in_a_model_stops_the_device_and_says_where() -> None:
    async def run(self: Model) -> None:
        await self.sleep("1s")
        self.set("nothing", 1 // 0)

    device = device_of(run)
    device.until(2 * S)
    message, trace = device.failed[0]
    assert message.startswith("ZeroDivisionError:") and "(test_model.py, line" in message
    assert trace.startswith("Traceback (most recent call last):") and "1 // 0" in trace
    assert "tasks.py" not in trace
    assert device.next is None


def test_an_error_in_a_hook_and_in_init_stops_the_device() -> None:
    class Broken(Model):
        def __init__(self, where: str) -> None:
            if where == "init":
                raise ValueError("no")
            self.where = where

        def on_line(self, link: Any, line: str) -> None:
            raise KeyError(line)

    assert Pretended(Broken, where="init").power_on().failed[0][0].startswith("ValueError: no (test_model.py")
    device = Pretended(Broken, where="hook").power_on()
    device.hear("console", "line", "x")
    assert device.failed[0][0].startswith("KeyError: 'x'")


def test_a_model_that_never_waits_is_stopped() -> None:
    async def run(self: Model) -> None:
        while True:
            await self.sleep("0s")

    assert "took the last of 10000 steps at one instant without waiting" in device_of(run).failed[0][0]


def test_a_model_that_never_comes_back_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "TICK", 0.01)

    async def run(self: Model) -> None:
        while True:
            try:
                sum(range(100))
            except Exception:
                continue

    device = device_of(run)
    assert "the model ran for 0.1 s of real time without coming to an await" in device.failed[0][0]
    assert "sum(range(100))" in device.failed[0][1] or "while True" in device.failed[0][1]


def test_asyncio_is_refused_with_the_reason() -> None:
    async def run(self: Model) -> None:
        await asyncio.sleep(0)

    assert "a model awaits only what fieldrig.model offers" in device_of(run).failed[0][0]


def test_ctrl_c_in_a_model_goes_to_whoever_drives() -> None:
    async def run(self: Model) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        device_of(run)


def test_a_task_gives_its_result_or_what_it_raised_to_whoever_awaits_it() -> None:
    got: list[Any] = []

    async def run(self: Model) -> None:
        async def work(fails: bool) -> int:
            await self.sleep("10ms")
            if fails:
                raise Lost("gone")
            return 5

        got.append(await self.spawn(work(False)))
        try:
            await self.spawn(work(True))
        except Lost as error:
            got.append(str(error))

    device = device_of(run)
    device.until(S)
    assert (got, device.failed) == ([5, "gone"], [])


def test_a_task_that_nobody_awaits_stops_the_device_when_it_raises() -> None:
    async def run(self: Model) -> None:
        async def work() -> None:
            raise Lost("gone")

        self.spawn(work())
        await self.sleep("1s")

    assert "Lost: gone" in device_of(run).failed[0][0]


def test_a_cancelled_task_ends_where_it_waits() -> None:
    got: list[Any] = []

    async def run(self: Model) -> None:
        async def work() -> None:
            try:
                await self.sleep("1s")
            finally:
                got.append("ended")

        task = self.spawn(work())
        await self.sleep("10ms")
        task.cancel()
        task.cancel()
        try:
            await task
        except Cancelled:
            got.append(self.now)

    device = device_of(run)
    device.until(S)
    assert got == ["ended", 0.01]


def test_a_task_cannot_cancel_itself() -> None:
    async def run(self: Model) -> None:
        async def work() -> None:
            own.cancel()

        own = self.spawn(work())
        await self.sleep("1s")

    assert "cannot cancel itself; return instead" in device_of(run).failed[0][0]


def test_a_queue_hands_on_in_order_and_drops_the_oldest_beyond_its_limit() -> None:
    got: list[Any] = []

    async def run(self: Model) -> None:
        queue = self.queue(limit=2)
        got.append([queue.put(item) for item in "abc"])
        got.append((await queue.get(), len(queue)))
        queue.put_back("again")
        got.append([await queue.get(), await queue.get()])
        try:
            await queue.get(timeout="50ms")
        except TimeoutError:
            got.append(self.now)

    device = device_of(run)
    device.until(S)
    assert got == [[True, True, False], ("b", 1), ["again", "c"], 0.05]


def test_a_queue_gives_nothing_to_whoever_waits_no_more() -> None:
    got: list[Any] = []

    async def run(self: Model) -> None:
        queue = self.queue()

        async def take(name: str) -> None:
            got.append((name, await queue.get()))

        first = self.spawn(take("first"))
        await self.sleep("1ms")
        self.spawn(take("second"))
        await self.sleep("1ms")
        first.cancel()
        queue.put(1)

    device = device_of(run)
    device.until(S)
    assert got == [("second", 1)]


def test_an_event_lets_everybody_go_on() -> None:
    got: list[Any] = []

    async def run(self: Model) -> None:
        event = self.event()

        async def wait(name: str) -> None:
            await event.wait()
            got.append(name)

        self.spawn(wait("a"))
        self.spawn(wait("b"))
        await self.sleep("1ms")
        event.set()
        await event.wait()
        event.clear()
        got.append("run")
        try:
            await event.wait(timeout="1ms")
        except TimeoutError:
            got.append("none")

    device = device_of(run)
    device.until(S)
    assert got == ["run", "a", "b", "none"]


def test_time_limits_that_are_not_needed_any_more_do_not_fill_the_memory() -> None:
    async def run(self: Model) -> None:
        queue = self.queue()

        async def take() -> None:
            while True:
                await queue.get(timeout="1h")

        self.spawn(take())
        async for slot in self.every("1ms"):
            queue.put(slot)

    device = device_of(run)
    device.until(5 * S)
    assert len(device.machine.scheduler._timers) < 300
    assert not device.failed


@pytest.mark.parametrize(
    ("work", "complaint"),
    [
        (
            lambda model: model.uplinc,
            "Tested has no attribute and no link `uplinc`; its links: bus485, uplink, console",
        ),
        (lambda model: model.console.publish("t"), "the link `console` (console) cannot `publish`"),
        (lambda model: model.uplink.read_input(0), "the link `uplink` (mqtt5) cannot `read_input`"),
        (lambda model: model.set("nothing", 1), "there is no point `nothing`"),
    ],
)
def test_what_a_model_cannot_do_is_said_plainly(work: Callable[[Any], Any], complaint: str) -> None:
    async def run(self: Model) -> None:
        work(self)

    assert complaint in device_of(run).failed[0][0]


def test_a_server_link_has_nothing_to_ask() -> None:
    class Meter(Model):
        async def run(self) -> None:
            self.modbus.read_input(0)

    device = Pretended(Meter, [("modbus", "modbus-tcp", "devices")]).power_on()
    assert "(modbus-tcp) cannot `read_input`: it is a link on which the device is asked" in device.failed[0][0]


def test_a_face_may_have_another_name_than_its_link() -> None:
    class Told(Model):
        async def run(self) -> None:
            self.service.line("hello")

        def on_line(self, link: Any, line: str) -> None:
            link.line(f"{link.name} {line}")

    device = Pretended(Told, [("service", "console", "devices", "console")]).power_on()
    device.hear("console", "line", "ver")
    assert (device.said, device.faces) == ([(0, "hello"), (0, "service ver")], ["console", "console"])


def test_a_link_with_a_name_that_every_model_uses_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot have a link named `run`"):
        Pretended(Model, [("run", "console", "devices")])


def test_an_event_of_the_model_goes_into_the_log() -> None:
    async def run(self: Model) -> None:
        self.log("poll", unit=3)

    assert device_of(run).logged == [("model.poll", {"unit": 3})]


def test_errors_at_power_off_are_told() -> None:
    async def run(self: Model) -> None:
        try:
            await self.sleep("1s")
        finally:
            raise ValueError("at the end")

    device = device_of(run)
    device.power_off()
    assert device.logged[0][0] == "model.raised_at_power_off"
    assert "ValueError: at the end" in device.logged[0][1]["error"]


# Files.


def written(tmp_path: Any, text: str) -> str:
    path = tmp_path / "gateway.py"
    path.write_text("from fieldrig.model import Model, Point\n" + textwrap.dedent(text))
    return str(path)


GOOD = """
class Gateway(Model):
    points = {"polls": Point("int", range=(0, 9), unit="1"), "name": Point("text", initial="x", access="read-write")}
    faces = {"modbus": {"map": {"polls": {"address": 0}}}}
    def __init__(self, bug="none"):
        self.bug = bug
"""


def test_a_file_gives_what_a_model_file_would(tmp_path: Any) -> None:
    loaded: Loaded = load(written(tmp_path, GOOD), "Gateway", {"bug": "reorder"})
    polls = {"kind": "int", "access": "read", "unit": "1", "range": [0, 9]}
    name = {"kind": "text", "access": "read-write", "initial": "x"}
    assert loaded.definition == {
        "model": {"name": "Gateway"},
        "points": {"polls": polls, "name": name},
        "face": {"modbus": {"map": {"polls": {"address": 0}}}},
    }
    assert loaded.machine("gw", LINKS).device == "gw"


def test_neighbours_of_a_model_are_its_own(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    known = types.ModuleType("common")
    monkeypatch.setitem(sys.modules, "common", known)
    text = """
        from common import RANGE
        class Gateway(Model):
            points = {"a": Point("int", range=RANGE)}
    """
    for folder, high in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "common.py").write_text(f"RANGE = (0, {high})\n")
        definition = load(written(tmp_path / folder, text), "Gateway").definition
        assert definition["points"]["a"]["range"] == [0, high]
    assert sys.modules["common"] is known
    assert str(tmp_path / "one") not in sys.path


@pytest.mark.parametrize(
    ("text", "name", "settings", "complaint"),
    [
        (GOOD, "Gatewai", {}, "there is no class `Gatewai`; it has: Gateway\n  hint: did you mean `Gateway`?"),
        ("X = 1", "Gateway", {}, "there is no class `Gateway`; no class in it derives from fieldrig.model.Model"),
        ("Gateway = 5", "Gateway", {}, "`Gateway` is no model\n  hint: derive it from fieldrig.model.Model"),
        ("def x(:\n", "Gateway", {}, "line 2: invalid syntax"),
        ("import nothing_of_this_name", "G", {}, "cannot be run: ModuleNotFoundError"),
        ("1 / 0", "G", {}, "cannot be run: ZeroDivisionError: division by zero (gateway.py, line 2, in <module>)"),
        (GOOD, "Gateway", {"bugg": 1}, "no setting `bugg`; it takes: bug\n  hint: did you mean `bug`?"),
        ("class G(Model):\n    def __init__(self, a): ...", "G", {}, "settings of G: missing a required argument: 'a'"),
        ("class G(Model):\n    points = {'a': 1}", "G", {}, "G.points['a'] is a int, a Point is expected"),
        ("class G(Model):\n    points = [1]", "G", {}, "G.points is a list, a dict of Points is expected"),
        ("class G(Model):\n    points = {'a': Point('real')}", "G", {}, "'real' is no kind of point; there are:"),
        ("class G(Model):\n    faces = {'a': 1}", "G", {}, "G.faces is a dict of dicts"),
        ("class G(Model):\n    boot = 5", "G", {}, "G.boot: boot=5 has no unit"),
        ("class G(Model):\n    boot_lines = [5]", "G", {}, "G.boot_lines is a list of texts and of"),
        ("class G(Model):\n    def run(self): ...", "G", {}, "G.run is no coroutine\n  hint: write `async"),
    ],
)  # fmt: skip
def test_a_file_with_a_mistake_is_refused_with_the_place(
    tmp_path: Any, text: str, name: str, settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load(written(tmp_path, text), name, settings)
    assert complaint in str(caught.value)


def test_a_file_that_is_not_there_or_is_no_python_is_refused(tmp_path: Any) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        load(str(tmp_path / "none.py"), "G")
    (tmp_path / "model.txt").write_text("")
    with pytest.raises(UsageError, match=r"a model in Python is a file that ends in \.py"):
        load(str(tmp_path / "model.txt"), "G")
