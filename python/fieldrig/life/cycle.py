"""The life cycle of the real devices of one bench: what `Bench` and the pytest plug-in call, in this order.

=====================  =================================================================================================
``start_programs``     a device that is a program is started, before anything is opened
``arm``                the guardian of the safe state starts, before anything is switched
``open_lines``         ports that are there for a modem line alone are opened
``prepare``            each device with `prepare`: its command, before the links to it are opened
``begin_session``      who are the devices?
``before_test``        power back on if a test left it off; `prepare` of ``once = "test"``; is something down?
``after_error``        a test ended with an error: was a link lost?
``end_session``        are the devices still the same?
``link_opened``        whenever a link of a device was opened: its modem lines are put where they belong
``finish``             the safe state; programs are ended
=====================  =================================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BenchError, PortLost
from .command import run_command
from .identity import Identity
from .lost import Losses
from .modem import ModemLines, console_of
from .program import ENDING, Program
from .restart import Restarter, SwitchRestarter, make_restarter
from .safe import SafeAction, SafeState
from .switch import Switch, described, make_switch

if TYPE_CHECKING:
    from .. import _core
    from ..bench import Bench
    from ..dut import Dut


class LifeCycle:
    """The life cycle of the real devices of a bench."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._folder: Path = bench.plan.path.absolute().parent
        self._tables: dict[str, dict[str, Any]] = {}
        for native in bench.plan._native.duts:
            self._tables[native.name] = _tables(native) if native.profile == "real" and not native.not_run else {}
        self.programs: dict[str, Program] = {}
        """The programs that are devices, by the name of the device."""
        self._lines = ModemLines(self._tables, bench.device, bench.rig)
        self._restarters: dict[str, Restarter] = {}
        self._safe: SafeState | None = None
        self._identities: dict[str, Identity] = {}
        self.losses = Losses(bench, self._recover)
        self.identity_changed: str | None = None
        self._test = "the start of the run"

    def start_programs(self) -> None:
        """Starts the programs that are devices.

        Raises:
            BenchError: one cannot be started, or its sockets do not appear.
        """
        for native in self._bench.plan._native.duts:
            tables = self._tables[native.name]
            if "run" in tables:
                urls = [*(link.url for link in native.links), (tables.get("power") or {}).get("qmp")]
                sockets = [url.removeprefix("unix://") for url in urls if url and url.startswith("unix://")]
                log = self._bench.folder / f"{native.name}.log"
                program = Program(native.name, tables["run"], sockets, self._folder, log, self._bench.rig)
                self.programs[native.name] = program
                program.start()

    def ended_program(self, devices: Iterable[str], wait: float = 0) -> BenchError | None:
        """What is wrong if a program that is one of these devices has ended by itself, or does within a time (s).

        It is the loss of a link, if the device has one: that is recovered, and the program started again. A device
        without power may have ended.
        """
        for name in devices:
            program = self.programs.get(name)
            why = program.why_ended(wait) if program is not None else None
            dut = self._bench.device(name)
            if why is None or dut.power.left_off():
                continue
            link = next((link for link in dut.protocols() if link not in dut.down_links), None)
            return BenchError(f"{name}: {why}") if link is None else PortLost(f"{name}.{link}: {why}")
        return None

    def arm(self) -> None:
        """Starts the guardian if a real device has a safe state.

        Raises:
            BenchError: it does not start, another run has the bench, or a safe state could not be reached without it.
        """
        actions = []
        for name, tables in self._tables.items():
            action = (tables.get("power") or {}).get("safe")
            if action is not None:
                actions.append(SafeAction(name, str(action), self._without_run(name, tables["power"])))
        if actions:
            bench = self._bench
            self._safe = SafeState(actions, bench.plan.path, bench.folder, bench.rig.log, bench.plan.secret_texts)

    def open_lines(self) -> None:
        """Opens the ports that are there for a reset by a modem line alone.

        Raises:
            BenchError: one cannot be opened, or has no modem lines.
        """
        self._lines.open()

    def close_lines(self) -> None:
        """Closes the ports that are there for modem lines alone: the guardian needs them."""
        self._lines.close()

    def link_opened(self, dut: Dut, link: str) -> None:
        """Puts the modem lines of a link where they belong.

        Raises:
            BenchError: its port has none.
        """
        self._lines.opened(dut, link)

    def switch(self, native: _core.bench.Dut) -> tuple[Switch | None, str | None]:
        """The switch of a real device with the time it needs to settle; nothing if it has none."""
        table = self._tables[native.name].get("power")
        if not table:
            return None, None
        bench, described = self._bench, self._described(table)
        made = make_switch(native.name, described, bench.rig, self._safe, bench.client_at, self._lines.switch)
        return made, table.get("settle")

    def restarter(self, dut: Dut, native: _core.bench.Dut) -> Restarter | None:
        """What resets a real device; None if the bench file does not say."""
        table = self._tables[native.name].get("restart")
        if table is None and "reset" in dut.power.actions:
            return SwitchRestarter(lambda: dut.power.do("reset"))
        if not table:
            return None
        if native.name not in self._restarters:
            cycle, line = dut.power.recover, self._lines.restarter
            self._restarters[native.name] = make_restarter(native.name, table, self._folder, cycle, self._safe, line)
        return self._restarters[native.name]

    def identity(self, dut: Dut) -> Identity:
        """Who a device is."""
        if dut.name not in self._identities:
            tables = self._tables.get(dut.name, {}).get("identity") or {}
            self._identities[dut.name] = Identity(dut, tables, self._folder, self._bench.rig.log, lambda: self._safe)
        return self._identities[dut.name]

    def prepare(self, dut: Dut) -> bool:
        """Runs the `prepare` command of a device, if it has one; its links must be closed. Gives whether it was run.

        Raises:
            BenchError: the artifact is missing, the command failed.
        """
        table = self._tables.get(dut.name, {}).get("prepare")
        if not table:
            return False
        command, artifact = str(table["command"]), table.get("artifact")
        values = {}
        if artifact:
            path = self._folder / str(artifact)
            if not path.exists():
                raise BenchError(f"{dut.name}: the artifact to prepare it with is missing: {path}")
            values["artifact"] = str(path)
        elif "{artifact}" in command:
            # Nothing was given to put on the device: it is tested as it is.
            self._bench.rig.log("prepare.left_out", device=dut.name, reason="no artifact is given")
            return False
        run_command(command, values, self._folder, str(table.get("timeout") or "5min"), "prepare command", self._safe)
        self._bench.rig.log("prepare", device=dut.name, command=command, artifact=str(artifact or ""))
        return True

    def begin_session(self) -> None:
        """Reads who the devices are, and so verifies that `prepare` left one that answers.

        Raises:
            BenchError: an identity cannot be read.
        """
        for dut in self._real():
            self.identity(dut).accept("start of the run")

    def before_test(self, test: str, names: Iterable[str]) -> None:
        """Brings the devices into the state in which a test may expect them.

        Raises:
            LinkDown: a device that the test uses is down.
            BenchError: it could not be prepared.
        """
        before, self._test = self._test, test
        if self._safe is not None:
            self._safe.check()
        used = [self._bench.device(name) for name in names]
        for dut in self._bench.devices():
            self._power_again(dut, before)
        for dut in used:
            down = self.losses.of_device(dut)
            if down is not None:
                raise down.error()
            self._prepare_again(dut)

    def end_session(self) -> None:
        """Looks whether the devices are still the same; `identity_changed` says what is not."""
        found = []
        for dut in self._real():
            if self.identity(dut) and self.losses.of_device(dut) is None:
                self._power_again(dut, self._test)
                found += self.identity(dut).changes()
        if found:
            self.identity_changed = "; ".join(found)
            self._bench.rig.log("identity.changed", text=self.identity_changed)

    def finish(self) -> None:
        """Reaches the safe state, then ends the programs that are devices.

        Raises:
            BenchError: a safe action failed; all of them were tried.
        """
        try:
            self._reach_safe_state()
        finally:
            for program in self.programs.values():
                program.stop()

    def _reach_safe_state(self) -> None:
        if self._safe is None:
            return
        failed = [outcome for outcome in self._safe.finish() if outcome.problem]
        if failed:
            text = "; ".join(f"{one.device} ({one.action}): {one.problem}" for one in failed)
            raise BenchError(f"the safe state was not reached: {text}")

    def _real(self) -> list[Dut]:
        return [dut for dut in self._bench.devices() if dut.judged and dut.emulated is None and dut.not_run is None]

    def _power_again(self, dut: Dut, test: str) -> None:
        """Switches on what the test before left without power: its silence would accuse it in the next one."""
        if dut.not_run is not None or not dut.power.left_off() or self.losses.of_device(dut) is not None:
            return
        try:
            dut.power.on()
            dut.power.wait_until_up()
        except BenchError as error:
            self.losses.take_down(dut, test, error.message)

    def _prepare_again(self, dut: Dut) -> None:
        tables = self._tables.get(dut.name, {})
        if (tables.get("prepare") or {}).get("once") != "test":
            return
        dut.close_links()
        try:
            self.prepare(dut)
            dut.power.wait_until_up()
        finally:
            dut.open_links()
        self.identity(dut).accept("prepared before a test")

    def _recover(self, dut: Dut) -> None:
        """Does what the bench file says about recovery; nothing if it says nothing.

        A device that a test has left off is only switched on.

        Raises:
            BenchError: it failed.
        """
        program = self.programs.get(dut.name)
        if program is not None and not program.runs(ENDING):
            program.stop()
            program.start()
            return dut.power.wait_until_up()
        if dut.power.left_off():
            dut.power.on()
            return dut.power.wait_until_up()
        table: Mapping[str, Any] = self._tables.get(dut.name, {}).get("recover") or {}
        if table.get("command"):
            limit = str(table.get("timeout") or "1min")
            run_command(str(table["command"]), {}, self._folder, limit, "recover command", self._safe)
        elif table.get("power"):
            dut.power.recover()
        if table:
            self._bench.rig.log("recover", device=dut.name)
            dut.power.wait_until_up()

    def _described(self, table: Mapping[str, Any]) -> dict[str, Any]:
        return described(table, self._folder, self._reach)

    def _without_run(self, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
        """The description of a switch for somebody who outlives the run.

        Raises:
            BenchError: nobody could use it then.
        """
        found = self._described(table)
        if "line" in found and "port" not in found:
            link = console_of(self._bench.plan.devices[name], table)
            found["port"] = self._bench._running.resolve(name, link).url
        reach = found.get("reach")
        if reach is not None:
            if reach["without_run"] is None:
                message = f"{name}: its safe state is driven through what ends with the run: {reach['url']}"
                raise BenchError(message, hint="let its switch use a broker or a port that is there without the run")
            found["reach"] = {**reach, "url": reach["without_run"]}
        return found

    def properties(self) -> list[tuple[str, str]]:
        """What a report says about who the devices are: name and value."""
        return [
            (f"identity.{device}.{name}", value)
            for device, identity in self._identities.items()
            for name, value in identity.known().items()
        ]

    def _reach(self, link: str) -> dict[str, Any]:
        """Where a link is that a switch is on."""
        found = next(one for one in self._bench.plan._native.links if one.name == link)
        url = self._bench.address_of(link)
        if url is None:
            raise BenchError(f"power over the link `{link}`: nobody says where it is")
        # A wire that peers share with real devices is joined in memory; without the run only its real port is left.
        without_run = next(iter(found.lock), None) if found.wire else url
        return {
            "url": url,
            "without_run": None if found.embedded else without_run,
            "locks": list(found.lock),
            "protocol": found.protocol,
            "base": found.base,
            "username": found.username,
            "password": found.password,
        }


def _tables(native: _core.bench.Dut) -> dict[str, Any]:
    """The checked tables of a device: `run`, `power`, `identity`, `prepare`, `recover`."""
    return {**native.life}
