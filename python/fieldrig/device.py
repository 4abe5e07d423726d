"""Emulated devices of a bench: one store of points behind any number of faces.

A device is described by a model file and built by the bench; `meter.emulated` of a DUT is one::

    change = bench.device("meter").emulated.set("voltage", 251.0)
    print(change.value, change.at)

The classes are those of the native core; their signatures and docstrings stand in `fieldrig/_core/device.pyi`.
"""

from __future__ import annotations

from fieldrig._core.device import Change, Device

__all__ = ["Change", "Device"]
