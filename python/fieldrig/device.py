"""Emulated devices."""

from __future__ import annotations

from fieldrig._core.device import Change

__all__ = ["Change"]
