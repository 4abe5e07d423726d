"""Why a command on a console did not come to its end: the device started anew meanwhile.

Rules of this file:

- What we restart ourselves is no fault of the device: while the command ran, or before it, if nobody has waited for the
  start since. Such a command proves nothing.
- A command that restarts the device, or ends its own shell, has no end: it was sent with the wrong call.
- A device that asks for a login, or greets like one that starts, has lost the command. That is told with what came; it
  stays the device's fault, since nobody of us has restarted it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .errors import ConnectionLost, ExpectationFailed, FieldrigError, InconclusiveError, UsageError

if TYPE_CHECKING:
    from ._core.stream import Match, Sent
    from .serial import Console

ASKS = r"(?i)(?:login|username):[ \t]*\z"
"""The shell is gone: whoever is there asks for a user."""
STARTS = (
    r"(?m)^[^\r\n]*?(?:U-Boot (?:SPL )?\d{4}\.\d|Booting Linux|Linux version \d|Starting kernel|\*\*\* Booting |"
    r"rst:0x[0-9a-f]+ \(|coreboot-|GNU GRUB|BIOS-provided|Restarting system|System halted)[^\r\n]*"
)
"""What boot loaders, kernels and firmware say when they start or stop."""
RESTARTING = re.compile(
    r"(?:^|[;&|\s/(])(?:reboot|reset|poweroff|halt|shutdown|kexec|exit|logout|telinit|sysrq-trigger)(?=$|[;&|\s)])"
    r"|(?:^|[;&|\s/(])init\s+[06](?=$|[;&|\s)])"
)
"""Commands behind which there is no prompt of this shell."""


class Course:
    """A command that was sent, and what is known of the device since."""

    def __init__(self, console: Console, command: str) -> None:
        self._console = console
        self._command = command
        self._matched = console._inbox.consumed
        self._begin = console.mark().offset
        self._sent: Sent | None = None

    def sent(self, sent: Sent) -> None:
        """It was sent."""
        self._sent = sent

    def ours(self) -> InconclusiveError | None:
        """What it is if we restarted the device while the command ran; None if we did not."""
        restarted = self._console._timeline.restarted
        if restarted is None or self._sent is None or restarted.at.order(self._sent.at) != "after":
            return None
        text = f"{self._console.name}: `{self._command}` was cut short by us: {restarted.action} came while it ran"
        hint = "let the command come to its end first, or send() it and wait for the start with boot()"
        return InconclusiveError(self._console.stream.mask(text), hint=hint)

    def explain(self, failed: ExpectationFailed | ConnectionLost) -> FieldrigError:
        """The exception for a command whose end did not come."""
        return self.ours() or self._not_awaited(failed) or self._anew(failed) or failed

    def _not_awaited(self, failed: FieldrigError) -> InconclusiveError | None:
        """We restarted the device before, and nothing was expected of it since: perhaps it was not up yet."""
        restarted = self._console._timeline.restarted
        if restarted is None or self._matched > self._console.stream.offset_after(restarted.at)[0]:
            return None
        headline, _, more = failed.message.partition("\n")
        text = f"{headline}, but nobody has waited for the start behind {restarted.action}"
        hint = "wait for it: console.boot(PATTERN, after=ACTION, within=..), or login(..)"
        return InconclusiveError("\n".join([text, *filter(None, [more])]), hint=hint)

    def _anew(self, failed: FieldrigError) -> FieldrigError | None:
        """It seems to have started anew, by itself or because the command told it to."""
        seen = self._seen() if isinstance(failed, ExpectationFailed) else None
        if seen is None:
            return None
        mask = self._console.stream.mask
        what = f"{'it asks for a login' if seen.index == 0 else 'it seems to start anew'}: {seen.describe()}"
        if RESTARTING.search(self._command):
            text = f"{self._console.name}: `{self._command}` has no end that run() could wait for, and {what}"
            hint = f"sent = console.send({self._command!r}), then console.boot(PATTERN, after=sent, within=..)"
            return UsageError(mask(text), hint=mask(hint))
        headline, _, more = failed.message.partition("\n")
        return ExpectationFailed("\n".join([f"{headline}, and {mask(what)}", *filter(None, [more])]), hint=failed.hint)

    def _seen(self) -> Match | None:
        """What shows that the device starts anew, behind the command."""
        return self._console.stream.search([ASKS, STARTS], self._begin, None, 0)
