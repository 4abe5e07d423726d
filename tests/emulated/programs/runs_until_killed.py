"""Works without end, with a run log and a trace: `runs_until_killed.py FOLDER`; says when twenty steps are done."""

from __future__ import annotations

import sys
from itertools import count

from fieldrig import Rig, modbus

rig = Rig(folder=sys.argv[1])
device = modbus.Device(holding={0: [1]}, rig=rig)
client = modbus.Client(device.url, rig=rig)
for number in count():
    client.read_holding(0, 1)
    rig.log("step", number=number)
    if number == 19:
        print("twenty", flush=True)
