"""Bench files: read, resolved, brought up. `fieldrig.bench` is what tests use."""

from collections.abc import Sequence
from os import PathLike
from typing import Any, Literal, final

from fieldrig._core import Rig
from fieldrig._core.device import Device

__all__ = ["Dut", "Link", "Plan", "Resolved", "Running", "bring_up", "load"]

@final
class Plan:
    """A bench file under chosen profiles."""

    @property
    def name(self) -> str: ...
    @property
    def duts(self) -> tuple[Dut, ...]:
        """The devices that are judged."""
    @property
    def peers(self) -> tuple[Dut, ...]:
        """The devices that are needed, but not judged."""
    @property
    def secrets(self) -> list[str]:
        """What must stand in no artefact: passwords."""

@final
class Dut:
    """A device of the bench."""

    @property
    def name(self) -> str: ...
    @property
    def profile(self) -> Literal["emulated", "real"]: ...
    @property
    def not_run(self) -> str | None:
        """Why it cannot be used under its profile."""
    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def links(self) -> tuple[Link, ...]: ...
    @property
    def power_command(self) -> str | None:
        """The command that switches it; `{action}` stands for what is to be done."""
    @property
    def power_actions(self) -> tuple[str, ...]: ...
    @property
    def power_settle(self) -> str | None:
        """How long it needs until it can be used again: a duration with its unit."""
    @property
    def power_timeout(self) -> str | None:
        """How long the command may take: a duration with its unit."""
    @property
    def power_safe(self) -> str | None:
        """What is done at the end of a run."""

@final
class Link:
    """A link of a device."""

    @property
    def name(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def url(self) -> str | None:
        """The real port, or the broker outside, at which it is; None where it is emulated."""

@final
class Resolved:
    """Where the tester's end of a link is."""

    @property
    def device(self) -> str: ...
    @property
    def link(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def url(self) -> str:
        """A port URL, or the URL of a broker."""
    @property
    def line(self) -> str | None:
        """Speed and format, if it is a wire."""
    @property
    def base(self) -> str:
        """What stands for `{base}`; empty if the bench file does not say."""
    @property
    def unit(self) -> int:
        """Unit id of the device; 1 if the bench file does not say."""
    @property
    def belongs_to(self) -> Literal["bench", "dut"]: ...
    @property
    def username(self) -> str | None: ...
    @property
    def password(self) -> str | None: ...
    @property
    def point_map(self) -> dict[str, dict[str, Any]] | None:
        """Where each point of the model stands, with its unit."""

@final
class Running:
    """A bench that is up: embedded brokers and emulated devices; devices that are judged have no power yet."""

    def device(self, name: str, /) -> Device | None:
        """The emulated device of this name."""
    def resolve(self, device: str, link: str, /) -> Resolved:
        """Where our end of a link of a device is. Raises `UsageError` if there is no such link."""
    def close(self) -> None:
        """Closes every device and broker."""

def load(path: str | PathLike[str], profiles: Sequence[str], /) -> Plan:
    """Reads a bench file with its overlay (`bench.local.toml`) and its model files.

    Args:
        path: the TOML file.
        profiles: `"real"` for all devices, `"meter=real"` for one; later ones win.

    Raises:
        BenchFileError: something is wrong with one of the files; the message begins with file, line and column.
        UsageError: a profile is unknown.
    """

def bring_up(rig: Rig, plan: Plan, /) -> Running:
    """Starts what is emulated and finds out where everything is.

    Raises:
        PortError: a port cannot be opened.
        BenchFileError: a model does not fit.
    """
