"""The suite that judges a gateway between a Modbus bus and MQTT: see README.md in this folder."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
