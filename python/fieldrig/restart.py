"""The reset of a device, and what was done to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import UsageError
from .expect import since
from .permission import permit
from .power import Action, times_of

if TYPE_CHECKING:
    from . import _core
    from .bench import Bench
    from .dut import Dut


class Restart:
    """Resets a device: its model when emulated, what the bench file says under `restart` when real.

    ::

        restarted = meter.restart()
        meter.console.expect(r"boot ok", after=restarted, within="5s")
    """

    def __init__(self, dut: Dut, bench: Bench, native: _core.bench.Dut) -> None:
        self._dut = dut
        self._bench = bench
        self._native = native

    def __call__(self) -> Action:
        """Resets the device; a stimulus.

        Returns:
            An action with `.at`, the instant before which the device was not reset, and `.done`.

        Raises:
            UsageError: the bench file does not say how this real device is reset, or has `allow` without `restart`.
            BenchError: it could not be reset.
        """
        permit(self._dut, "restart")
        restarter = None
        if self._dut.emulated is None:
            restarter = self._bench.life.restarter(self._dut, self._native)
            if restarter is None:
                hint = 'restart = { command = .. }, { line = "rts", .. } or { power = "cycle" } in the bench file'
                message = f"{self._dut.name}.restart(): the bench file does not say how this real device is reset"
                raise UsageError(message, hint=hint)
        now, log = self._bench.rig.now, self._bench.rig.log
        at = self._dut.timeline.approach() or now()
        try:
            if restarter is not None:
                done = restarter.restart()
            else:
                done = None
                assert self._dut.emulated is not None  # else there were a restarter
                self._dut.emulated.power_off()
                self._dut.emulated.power_on()
        except BaseException as error:
            # What was done may have had its effect.
            self._dut.timeline.stimulus(at)
            self._dut.timeline.restarted = Action("restart", at, now())
            said = str(error) or type(error).__name__
            log("restart.failed", device=self._dut.name, error=said, **times_of(at, now()))
            raise
        action = Action("restart", *((since(at, now()), now()) if done is None else (done.at, done.done)))
        self._dut.timeline.stimulus(action.at)
        self._dut.timeline.restarted = action
        log("restart", device=self._dut.name, **times_of(action.at, action.done))
        return action
