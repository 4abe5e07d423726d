"""The life cycle of the real devices of one bench: what `Bench` and the pytest plug-in call, in this order.

=====================  =================================================================================================
``arm``                the guardian of the safe state starts, before anything is switched
``prepare``            each device with `prepare`: its command, before the links to it are opened
``begin_session``      who are the devices?
``before_test``        power back on if a test left it off; `prepare` of ``once = "test"``; is something down?
``after_error``        a test ended with an error: was a link lost?
``end_session``        are the devices still the same?
``finish``             the safe state
=====================  =================================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BenchError
from .command import run_command
from .identity import Identity
from .lost import Losses
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
        self._safe: SafeState | None = None
        self._identities: dict[str, Identity] = {}
        self.losses = Losses(bench, self._recover)
        self.identity_changed: str | None = None
        self._test = "the start of the run"

    def arm(self) -> None:
        """Starts the guardian if a real device has a safe state.

        Raises:
            BenchError: it does not start, or a safe state could not be reached without the run.
        """
        actions = []
        for name, tables in self._tables.items():
            action = (tables.get("power") or {}).get("safe")
            if action is not None:
                table = self._described(tables["power"])
                if (table.get("reach") or {}).get("embedded"):
                    message = f"{name}: its safe state is driven over a broker of the run, which ends with the run"
                    raise BenchError(message, hint="let the plug use a broker that runs by itself")
                actions.append(SafeAction(name, str(action), table))
        if actions:
            self._safe = SafeState(actions, self._bench.folder, self._bench.rig.log)

    def switch(self, native: _core.bench.Dut) -> tuple[Switch | None, str | None]:
        """The switch of a real device with the time it needs to settle; nothing if it has none."""
        table = self._tables[native.name].get("power")
        if not table:
            return None, None
        made = make_switch(native.name, self._described(table), self._bench.rig, self._safe)
        return made, table.get("settle")

    def identity(self, dut: Dut) -> Identity:
        """Who a device is."""
        if dut.name not in self._identities:
            tables = self._tables.get(dut.name, {}).get("identity") or {}
            self._identities[dut.name] = Identity(dut, tables, self._folder, self._bench.rig.log, lambda: self._safe)
        return self._identities[dut.name]

    def prepare(self, dut: Dut, once: str) -> bool:
        """Runs the `prepare` command of a device, if it is to be run then; its links must be closed.

        Raises:
            BenchError: the artifact is missing, the command failed.
        """
        table = self._tables.get(dut.name, {}).get("prepare")
        if not table or (table.get("once") or "session") != once:
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
        """Reaches the safe state.

        Raises:
            BenchError: a safe action failed; all of them were tried.
        """
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
            self.prepare(dut, "test")
            dut.power.wait_until_up()
        finally:
            dut.open_links()
        self.identity(dut).accept("prepared before a test")

    def _recover(self, dut: Dut) -> None:
        """Does what the bench file says about recovery; nothing if it says nothing.

        Raises:
            BenchError: it failed.
        """
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

    def _reach(self, link: str) -> dict[str, Any]:
        """Where a link is that a switch is on."""
        for native in self._bench.plan._native.duts:
            if any(one.name == link for one in native.links) and not native.not_run:
                at = self._bench._running.resolve(native.name, link)
                names = ("url", "protocol", "base", "username", "password")
                return {name: getattr(at, name) for name in names}
        raise BenchError(f"power over the link `{link}`: no real device of the bench is on it")


def _tables(native: _core.bench.Dut) -> dict[str, Any]:
    """The checked tables of a device: `power`, `identity`, `prepare`, `recover`."""
    if hasattr(native, "life"):
        return {**native.life}
    if native.power_command is None:
        return {}
    names = ("command", "actions", "settle", "timeout", "safe")
    table = {name: found for name in names if (found := getattr(native, f"power_{name}"))}
    return {"power": table}
