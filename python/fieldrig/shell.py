"""What consoles do with shells and boot loaders: run a command, log in, wait for the start.

How `run` finds output and status in a POSIX shell: the command stands between two ``printf`` that print marks::

    printf '%s-%s\\n' fieldrig c0ffee.7-begin; eval 'the command'; printf '%s-%s-%s\\n' fieldrig c0ffee.7-end "$?"

The echo of this line, and what ``set -x`` shows of it, never have a mark in one piece, because only ``printf`` joins
its halves. No other console has the same marks: what an earlier one began, and a log of it, end nothing. Everything
between the marks is output, be its last line finished or not; ``eval`` takes comments, ``&`` and unfinished quotes of
the command for itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._core import Span, Stamp
from ._core.stream import Match, check_pattern
from .errors import CommandFailed, ConnectionLost, ExpectationFailed, Refused, UnexpectedEvent, UsageError
from .expect import HasInstant
from .interrupted import Course
from .stream_inbox import Asked

if TYPE_CHECKING:
    from .serial import Console

USER_PROMPT = r"(?i)(?:login|username):[ \t]*\z"
PASSWORD_PROMPT = r"(?i)(?:password|passphrase)[^\r\n]*:[ \t]*\z"
REFUSED = (
    r"(?im)^[^\w\r\n]*(?:[\w.-]+: *)?(?:"
    r"(?:login|password|passphrase|user ?name|user|access|permission|authentication)"
    r"(?: is| was)? (?:incorrect|denied|invalid|failed|failure)"
    r"|(?:incorrect|invalid|bad|wrong) (?:login|user ?name|user|passwords?|passphrase|credentials)"
    r")(?: *[.,!:;][^\r\n]*)? *$"
)
"""A line that says so; not one of a greeting such as "unauthorized access is denied and will be reported"."""
SHELL_PROMPT = r"(?m)^[^\r\n]*[$#>] ?\z"
LONGEST = 4000
"""Bytes in a command line with its marks: a terminal in canonical mode drops what is beyond 4095."""
SETTLE_NS = 50_000_000
"""So long nothing must come behind a prompt: what is no prompt goes on; longer than adapters hold bytes back."""


@dataclass(frozen=True)
class Ran:
    """A command that was run on a console."""

    command: str
    output: str
    """What it printed, lines ended by line feeds."""
    status: int | None
    """Its exit status; None where the shell has none."""
    at: Stamp
    """When the command was issued."""
    done: Stamp
    """When its end was seen."""

    @property
    def lines(self) -> list[str]:
        """The lines of the output."""
        return self.output.splitlines()

    @property
    def action(self) -> str:
        """What failure texts call it."""
        return f"the command {self.command!r}"

    def until(self, later: HasInstant) -> Span:
        """The span from its issue to a later event."""
        return later.at - self.at


def check_prompt(prompt: object, place: str) -> None:
    """Refuses what can be no prompt.

    Raises:
        UsageError: it is no text, empty, no regular expression, or matches nothing at all.
    """
    hint = r'write for example prompt=r"[$#] "'
    if not isinstance(prompt, str) or not prompt:
        raise UsageError(f"{place}: prompt={prompt!r} is no pattern for what asks for a command", hint=hint)
    try:
        check_pattern(prompt)
    except UsageError as error:
        raise UsageError(f"{place}: prompt={prompt!r}: {error.message}", hint=error.hint or hint) from None


def check_command(command: object) -> str:
    """The command, if it is one.

    Raises:
        UsageError: it is no text, has nothing in it, or has several lines.
    """
    if not isinstance(command, str):
        raise UsageError(f"run() takes a command as text, not {command!r}")
    if not command.strip():
        hint = 'to see the prompt, write send("") and expect(prompt)'
        raise UsageError(f"run({command!r}): there is no command to run", hint=hint)
    if "\n" in command or "\r" in command:
        hint = "separate commands by `;`, or send a script and run that"
        raise UsageError(f"run({command!r}) takes one line", hint=hint)
    return command


Runner = Callable[["Console", str, str | Span, bool, str | None], Ran]


def runner(kind: str) -> Runner:
    """How commands are run in a kind of shell.

    Raises:
        UsageError: it is not one of ours.
    """
    runners: dict[str, Runner] = {"posix": in_posix_shell, "prompt": at_prompt}
    if kind not in runners:
        raise UsageError(f'shell is "posix" or "prompt", not {kind!r}')
    return runners[kind]


def in_posix_shell(console: Console, command: str, within: str | Span, check: bool, prompt: str | None) -> Ran:
    """Runs a command between two marks; see the top of this file."""
    number = console._next_command()
    quoted = command.replace("'", r"'\''")
    begin, end = f"{number}-begin", f"{number}-end"
    line = f"printf '%s-%s\\n' fieldrig {begin}; eval '{quoted}'; printf '%s-%s-%s\\n' fieldrig {end} \"$?\""
    if len(line.encode()) > LONGEST:
        raise UsageError(
            f"the command is too long: with its marks it has more than {LONGEST} bytes",
            hint="a terminal that collects lines takes no more; write a script to a file and run that",
        )
    course = Course(console, command)
    sent = console.send(line)
    course.sent(sent)
    asked = Asked(sent.at, sent.done)  # nobody said these marks before, and the prompt comes behind them
    try:
        began = console.expect(
            rf"fieldrig-{re.escape(begin)}\r*\n", after=asked, within=within, called=f"the begin of `{command}`"
        )
        finished = rf"fieldrig-{re.escape(end)}-(\d+)[ \t]*[\r\n]"
        ended = console.expect(finished, after=asked, within=within, called=f"the end of `{command}`")
        if prompt is not None:
            # A shell that is about to ask may throw away what was typed before.
            console.expect(prompt, after=asked, within=within, called=f"the prompt behind `{command}`")
    except (ExpectationFailed, ConnectionLost) as error:
        raise course.explain(error) from None
    ran = Ran(command, console._inbox.text(began.end, ended.start), int(ended[1] or 0), sent.at, ended.at)
    if check and ran.status != 0:
        raise failed(console, ran)
    return ran


def at_prompt(console: Console, command: str, within: str | Span, check: bool, prompt: str | None) -> Ran:
    """Runs a command where a prompt is all there is."""
    if prompt is None:
        raise UsageError(
            'run(.., shell="prompt") needs to know the prompt', hint=r'prompt=r"=> ", here or where the console is made'
        )
    if check:
        raise UsageError('check=True needs an exit status, and shell="prompt" has none')
    course, mark = Course(console, command), console.mark()
    sent = console.send(command)
    course.sent(sent)
    try:
        found = last(console, [at_end(prompt)], sent, within, f"the prompt behind `{command}`")
    except (ExpectationFailed, ConnectionLost) as error:
        raise course.explain(error) from None
    if (cut := course.ours()) is not None:
        raise cut  # the prompt is that of a shell which knows nothing of the command
    output = console._inbox.text(mark.offset, found.start)
    return Ran(command, without_echo(console, output, command, prompt, mark.offset), None, sent.at, found.at)


def at_end(prompt: str) -> str:
    """A pattern for a prompt behind which nothing has come yet."""
    return rf"(?:{prompt})\z"


def last(console: Console, patterns: list[str], after: HasInstant, within: str | Span, called: str) -> Match:
    """The first match; of a prompt, the first behind which nothing comes: output may look like one, but it goes on."""
    while True:
        found = console.expect_any(patterns, after=after, within=within, called=called)
        settled = found.at.latest_ns + SETTLE_NS
        if not found.pattern.endswith(r"\z") or not console._inbox.more_than(found, settled):
            return found


def without_echo(console: Console, output: str, command: str, prompt: str, start: int) -> str:
    """What came behind the echo of the command, if it came back: alone, behind the prompt, or behind what colours it.

    Where nothing is echoed, the first line of the output is none because it ends as the command does.
    """
    first, feed, rest = output.partition("\n")
    if not feed or not first.rstrip().endswith(command.rstrip()):
        return output
    before = first.rstrip().removesuffix(command.rstrip())
    if not before.strip() or "\x1b" in before:
        return rest
    echo = console.stream.search(rf"\A[^\r\n]*(?:{prompt}){re.escape(command.rstrip())}[ \t]*\r*\n", start, None, 0)
    return output if echo is None else rest


def failed(console: Console, ran: Ran) -> CommandFailed:
    """The exception for a command that went wrong, with the end of what it said."""
    said = "".join(f"\n  {line}" for line in ran.lines[-20:]) or "\n  nothing"
    text = f"{console.name}: the command `{ran.command}` ended with status {ran.status}, saying:{said}"
    return CommandFailed(console.stream.mask(text), status=ran.status, output=ran.output)


def login(
    console: Console,
    user: str,
    password: str | None,
    within: str | Span,
    prompt: str | None,
    user_prompt: str,
    password_prompt: str,
    refused: str,
) -> Match:
    """Logs in, whatever state the console is in: at the question for the user, or in a shell already."""
    if password is not None:
        console.hide(password)
    ready = SHELL_PROMPT if prompt is None else at_end(prompt)
    sent = console.send("")
    first = Asked(sent.at, sent.done)  # whatever state the console is in, it is taken from there
    asked = last(console, [user_prompt, ready, password_prompt], first, within, "a login or a prompt")
    if asked.index == 2:  # the line end was taken for a user, or the password of somebody is still asked for
        console.send("")
        asked = last(console, [user_prompt, ready], first, within, "a login or a prompt")
    if asked.index == 1:
        return asked
    console.send(user)
    called = f"the answer to the user name {user}"
    asked = last(console, [password_prompt, refused, ready], first, within, called)
    if asked.index == 0:
        if password is None:
            raise UsageError(f"{console.name}: the login of {user} needs a password, and there is none")
        console.send(password)
        called = f"a prompt behind the login of {user}"
        asked = last(console, [user_prompt, refused, ready], first, within, called)
    if asked.index == 2:
        return asked
    raise Refused(console.stream.mask(f"{console.name}: the login of {user} was refused: {asked.describe()}"))


def boot(
    console: Console,
    pattern: str,
    after: HasInstant | Stamp | None,
    within: str | Span | None,
    stop_autoboot: str | None,
    key: str | bytes,
    fails: tuple[str, ...],
) -> Match:
    """Waits for the start, and for what makes it fail."""
    since = console.mark().at if after is None else after
    steps = [pattern] if stop_autoboot is None else [stop_autoboot, pattern]
    for number, step in enumerate(steps, 1):
        found = console.expect_any([step, *fails], after=since, within=within)
        if found.index > 0:
            text = f"{console.name}: the start failed: {found.describe()} came before /{step}/"
            raise UnexpectedEvent(console.stream.mask(text))
        if number < len(steps):
            console.send(key, end="")
    return found
