"""Runs devices with models in Python and does something to the process: `runs_models.py CASE FOLDER`.

`interrupt-virtual`, `interrupt-real`: SIGINT while the model runs. `exit`, `raise`, `collected`: ends without closing.
`fork`: uses a device in the child.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from pathlib import Path

from fieldrig import Rig, _core
from fieldrig.errors import FieldrigError, ForkError

MODEL = """
import os, signal, threading
from fieldrig.model import Model, Point

class Busy(Model):
    points = {"rounds": Point("int"), "goal": Point("int", access="read-write")}

    def __init__(self, how="tick"):
        self.how = how

    async def run(self):
        if self.how == "interrupt":
            await self.sleep("50ms")
            os.kill(os.getpid(), signal.SIGINT)
            while True:
                sum(range(100))
        while True:
            sum(range(1000))
            self.set("rounds", self.get("rounds") + 1)
            await self.sleep("100us")
"""


def bring_up(folder: Path, clock: str, how: str = "tick", count: int = 1) -> tuple[Rig, _core.bench.Running]:
    """A rig with so many devices that never rest."""
    (folder / "busy.py").write_text(MODEL)
    text = f'[bench]\nname = "busy"\nclock = "{clock}"\n[link.console]\nprotocol = "console"\nline = "115200 8N1"\n'
    for number in range(count):
        text += (
            f'[dut.d{number}]\nmodel = "busy.py:Busy"\nsettings = {{ how = "{how}" }}\nlinks = {{ console = {{}} }}\n'
        )
        if count > 1:
            text = text.replace("links = { console = {} }\n", 'links = { console = { port = "pty" } }\n')
    (folder / "bench.toml").write_text(text)
    rig = Rig(clock=clock)
    running = _core.bench.bring_up(rig, _core.bench.load(str(folder / "bench.toml"), []))
    for name in running.devices:
        device = running.device(name)
        assert device is not None
        device.power_on()
    return rig, running


def main(case: str, folder: Path) -> None:
    if case == "interrupt-virtual":
        signal.signal(signal.SIGINT, signal.default_int_handler)
        rig, running = bring_up(folder, "virtual", "interrupt")
        try:
            rig.sleep("1h")
        except KeyboardInterrupt:
            print("interrupted at", rig.now().earliest, flush=True)
        device = running.device("d0")
        assert device is not None
        print(device.power, (device.raised or "").splitlines()[0], flush=True)
        rig.sleep("1s")
        print("goes on", flush=True)
        return
    if case == "interrupt-real":
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from fieldrig.model import watchdog

        watchdog.TICK = 0.02
        rig, running = bring_up(folder, "real", "interrupt")
        try:
            rig.sleep("1h")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        device = running.device("d0")
        assert device is not None
        print(device.power, (device.raised or "").partition(":")[0], flush=True)
        return
    rig, running = bring_up(folder, "real")
    device = running.device("d0")
    assert device is not None
    if case == "exit":
        for _ in range(3):
            threading.Thread(target=poke, args=(device,), daemon=True).start()
        rig.sleep("50ms")
    elif case == "raise":
        rig.sleep("50ms")
        raise SystemExit(3)
    elif case == "collected":
        for _ in range(20):
            more_rig, more = bring_up(folder, "real")
            more_rig.sleep("2ms")
            del more_rig, more
            gc.collect()
    elif case == "fork":
        fork(device)
        rig.stop()
    print("leaving", flush=True)


def poke(device: _core.device.Device) -> None:
    """Busies itself with the device until everything is closed."""
    try:
        while True:
            device.set("goal", int(device.get("rounds")))
    except FieldrigError:
        pass


def fork(device: _core.device.Device) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            device.get("rounds")
        except ForkError:
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    print("child", os.waitstatus_to_exitcode(status), "parent", device.power, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
