"""The life cycle of real devices: power, identity, preparation, recovery, and the safe state at the end of a run.

Rules of this folder:

- It serves real devices only. An emulated device is switched in its model, is what its model says, and harms nobody.
- What switches, flashes or recovers a device is part of the bench: when it fails, the bench is to blame, never the
  device. A relay that does not answer is no device under test that does not answer.
- Nothing is believed without proof: a command has a time limit and an exit code, and where the bench file offers a way
  to read back what was switched, it is read back.
- The safe state has one executor, the guardian: a small process that outlives the run, however the run ends.

::

    plan = BenchPlan.load("bench.toml", ["real"])
    with plan.open() as bench:                            # starts the guardian, if a device has a safe state
        bench.begin_session()                             # who are the devices?
        bench.device("meter").power.cycle(off="2s")       # with read-back
        bench.end_session()                               # are they still the same?
                                                          # the safe state is reached here
"""

from __future__ import annotations
