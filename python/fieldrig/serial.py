"""Consoles of devices: text over serial lines, ptys, sockets, with expectations that only look behind their cursor.

::

    from fieldrig.serial import Console

    with Console("serial:///dev/ttyUSB0?line=115200+8N1", ansi="strip", prompt=r"[$#] ") as console:
        console.login("root", "secret", within="30s")
        assert console.run("uname -s", check=True).output == "Linux\\n"
        asked = console.send("ver")
        firmware = console.expect(r"fw (?P<version>\\S+)", after=asked, within="1s")
        assert firmware["version"] == "1.4.2"

Patterns are those of Rust's `regex` crate (no look-around, no back-references); `(?m)`, `(?i)` and named groups work as
usual, and `\\b` is a boundary of ASCII words. A match may span at most 64 KiB. What came over the line is kept: the
newest bytes in memory, older ones in a file that is gone when the console is closed, so nothing is lost between two
calls. docs/consoles.md has examples of everything.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Self

from fieldrig import shell
from fieldrig._core import Rig, Span, Stamp
from fieldrig._core.stream import Line, Match, Received, Sent, Stream
from fieldrig.errors import UsageError
from fieldrig.expect import HasInstant, Observation, Timeline, instant, since
from fieldrig.fulfilled import unfulfilled
from fieldrig.sharers import sharers
from fieldrig.shell import Ran, check_command, check_prompt, runner
from fieldrig.stimulus import Performance, Played, Program
from fieldrig.stream_inbox import Mark, StreamInbox
from fieldrig.units import nanoseconds

__all__ = ["Console", "Line", "Mark", "Match", "Ran", "Received", "Sent"]

Ansi = Literal["keep", "strip"]
Ending = Literal["lf", "crlf", "cr"]

ENDINGS = {"lf": "\n", "crlf": "\r\n", "cr": "\r"}
"""What ends a line, by name."""


class Console:
    """The console of a device.

    Args:
        url: `serial:///dev/ttyUSB0?line=115200+8N1`, `pty://?line=..` (a new one), `tcp://host:port`, `unix:///path`.
        rig: the rig to share; without one, the console has its own.
        timeline: what the links of one device share; a stand-alone console has its own.
        name: what failure texts call it; the URL if not given.
        belongs_to: whose port it is: decides who is to blame when it goes away.
        proven: the path to the device is known to work. If it is not, what does not come is held against nobody until
            something has come.
        ansi: "strip": patterns and lines do not see control functions of terminals (colours, cursor moves, titles).
        prompt: a pattern for what asks for a command, e.g. `r"[$#] "`; `run` and `login` need it or profit from it.
        ending: what ends a line that is sent, unless the call says otherwise.
        pace: the pause behind each byte that is sent, e.g. `"2ms"`, unless the call says otherwise.
        keep: bytes kept in memory, at least 65536; 16 MiB if not given.
        spill: bytes kept in a file beyond those, 1 GiB if not given; 0: none, older ones are dropped.

    A bench file says the same for `meter.console`, in the table `client` of its link: `ansi`, `prompt`, `ending`,
    `pace`, `keep` and `spill`.

    Raises:
        PortError: the port is missing, busy or cannot be opened.
        UsageError: the URL is malformed; what is wrong with another argument.
    """

    def __init__(
        self,
        url: str,
        *,
        rig: Rig | None = None,
        timeline: Timeline | None = None,
        name: str | None = None,
        belongs_to: Literal["bench", "dut"] = "bench",
        proven: bool = True,
        ansi: Ansi = "keep",
        prompt: str | None = None,
        ending: Ending = "lf",
        pace: str | Span | None = None,
        keep: int | None = None,
        spill: int = 1 << 30,
    ) -> None:
        if ending not in ENDINGS:
            raise UsageError(f"ending= is one of {', '.join(map(repr, ENDINGS))}, not {ending!r}")
        if pace is not None:
            nanoseconds(pace, "pace")
        if prompt is not None:
            check_prompt(prompt, "Console()")
        self._proven = proven
        self._why_not: str | None = None
        self._name = name or url
        self._belongs_to = belongs_to
        self._ansi: Ansi = ansi
        self._commands = 0
        self._key = os.urandom(3).hex()
        self._prompt = prompt
        self._end = ENDINGS[ending]
        self._pace = pace
        self._stream = Stream(url, rig=rig, name=self._name, belongs_to=belongs_to, ansi=ansi, keep=keep, spill=spill)
        if timeline is None:
            timeline = Timeline(self._stream.now, self._stream.stalls)
            timeline.mask = self._stream.mask
        self._timeline = timeline
        self._inbox = StreamInbox(self._stream, self._timeline, self._name, self._doubt, self._shared)
        self._timeline.observe(self._arrivals)
        self._timeline.look_with(self._stream.look)

    @property
    def url(self) -> str:
        """The address of the port: of a pty, the device node that the other side opens."""
        return self._stream.url

    @property
    def name(self) -> str:
        """What failure texts call it."""
        return self._name

    @property
    def stream(self) -> Stream:
        """The raw stream behind it."""
        return self._stream

    @property
    def ansi(self) -> Ansi:
        """ "strip": patterns and lines do not see control functions of terminals; "keep": they do. Can be set."""
        return self._ansi

    @ansi.setter
    def ansi(self, ansi: Ansi) -> None:
        self._stream.show(ansi)
        self._ansi = ansi

    @property
    def prompt(self) -> str | None:
        """A pattern for what asks for a command, or None. Can be set."""
        return self._prompt

    @prompt.setter
    def prompt(self, prompt: str | None) -> None:
        if prompt is not None:
            check_prompt(prompt, "Console.prompt")
        self._prompt = prompt

    def send(
        self,
        text: str | bytes,
        end: str | bytes | None = None,
        *,
        pace: str | Span | None = None,
        per: Literal["byte", "line"] = "byte",
        echo: str | Span | bool = False,
    ) -> Sent:
        """Sends text (as UTF-8) or bytes, and the line end.

        Args:
            end: what ends the line; that of the console (a line feed, if nobody said otherwise) if not given.
            pace: the pause between two bytes or lines, e.g. `"2ms"`, for devices with small buffers; kept by the rig.
                That of the console, behind each byte, if not given.
            per: what is paced: each "byte" or each "line".
            echo: go on with the next byte or line only when the device has sent back this one, within a second (True)
                or the time given.

        Returns:
            When it was issued (`.at`) and handed to the port (`.done`).

        Raises:
            PortLost: the port went away.
            Unanswered: the echo did not come.
        """
        octets = _octets(text, "text") + _octets(self._end if end is None else end, "end")
        if isinstance(echo, bool):
            echo_within: str | Span | None = "1s" if echo else None
        else:
            nanoseconds(echo, "echo")
            echo_within = echo
        at = self._timeline.approach()
        if pace is None and echo is False:
            pace, per = self._pace, per if self._pace is None else "byte"
        if pace is None and echo is False:
            sent = self._stream.send(octets)
        else:
            sent = self._stream.send_paced(octets, pace, per=per, echo_within=echo_within)
        if at is not None:
            sent = Sent(since(at, sent.at), sent.done, sent.data)
        self._timeline.stimulus(sent.at)
        return sent

    def expect(
        self,
        pattern: str,
        *,
        after: HasInstant | Stamp | None = None,
        within: str | Span | None = None,
        called: str | None = None,
    ) -> Match:
        """The first match that came surely behind the cursor and surely inside the window.

        Args:
            pattern: a regular expression over the bytes that were received.
            after: an action, an observation, a stamp or a mark at which the cursor stands and the window begins;
                without it the cursor is the later of the last match here and the last stimulus on any link.
            within: how long it may take, e.g. `"5s"`.
            called: what failure texts call it; the pattern if not given.

        Raises:
            ExpectationFailed: it did not come.
            InconclusiveError: it came, but when cannot be said well enough, or the host stood still.
            PortLost: the port went away.
            UsageError: a malformed pattern or duration.
        """
        return self._inbox.expect(pattern, after, within, called)

    def expect_any(
        self,
        patterns: Sequence[str],
        *,
        after: HasInstant | Stamp | None = None,
        within: str | Span | None = None,
        called: str | None = None,
    ) -> Match:
        """The match of any of the patterns that is complete first; `.index` and `.pattern` say of which.

        If one byte completes several, the one that stands first in the list. Raises what `expect` raises.
        """
        if isinstance(patterns, str):
            raise UsageError("expect_any() takes a list of patterns")
        return self._inbox.expect(patterns, after, within, called)

    def expect_all(
        self,
        patterns: Sequence[str],
        *,
        after: HasInstant | Stamp | None = None,
        within: str | Span | None = None,
    ) -> list[Match]:
        """All of the patterns, in any order; the matches in the order of the patterns. Raises what `expect` raises."""
        return self._inbox.expect_all(patterns, after, within)

    def expect_none(
        self,
        pattern: str | Sequence[str],
        *,
        after: HasInstant | Stamp | None = None,
        for_: str | Span | None = None,
    ) -> None:
        """Nothing that matches (any of several patterns) comes for this long, and the port was alive to the end.

        Raises:
            UnexpectedEvent: it came.
            ObserverBlind: the port was lost or overrun, so that silence proves nothing.
            InconclusiveError: it may have come outside the window.
        """
        self._inbox.expect_none(pattern, after, for_)

    def mark(self) -> Mark:
        """The place behind everything that has come by now: `after=mark` looks at all that comes behind it.

        Unlike a match, it consumes nothing, and unlike the cursor it stays: what was matched behind it is found again.
        """
        at = self._stream.now()
        self._stream.look()
        return Mark(at, self._stream.length, self._stream)

    def lines(self, after: HasInstant | Stamp | None = None) -> tuple[Line, ...]:
        """The lines that have come by now behind a mark or an instant (the last stimulus, if none is given).

        The last one may still grow. Nothing is consumed.
        """
        self._stream.look()
        if isinstance(after, Mark) and after.stream in (None, self._stream):
            return self._stream.lines(None, after.offset)
        return self._stream.lines(self._timeline.last_stimulus if after is None else instant(after))

    def read_line(self, *, after: HasInstant | Stamp | None = None, within: str | Span | None = None) -> Line:
        """The next whole line behind the cursor, without what ends it. Raises what `expect` raises."""
        return self._inbox.read_line(after, within)

    def read_exactly(
        self, count: int, *, after: HasInstant | Stamp | None = None, within: str | Span | None = None
    ) -> Received:
        """The next so many bytes behind the cursor, as they came. Raises what `expect` raises."""
        return self._inbox.read_exactly(count, after, within)

    def read_until(
        self, pattern: str, *, after: HasInstant | Stamp | None = None, within: str | Span | None = None
    ) -> Received:
        """The bytes behind the cursor up to the end of the next match, as they came. Raises what `expect` raises."""
        return self._inbox.read_until(pattern, after, within)

    def run(
        self,
        command: str,
        *,
        within: str | Span = "10s",
        check: bool = False,
        shell: Literal["posix", "prompt"] = "posix",
        prompt: str | None = None,
    ) -> Ran:
        """Runs a command at the prompt of a shell.

        Args:
            within: how long it may take.
            check: a status other than 0 is the device's fault.
            shell: "posix": a POSIX shell (sh, bash, dash, busybox): output and exit status are told apart from the echo
                by marks that the shell prints itself. "prompt": anything with a prompt (boot loaders, interpreters,
                menus): the output is what stands between the echo of the command and the next prompt, without status.
            prompt: a pattern for the prompt; that of the console if not given. "prompt" needs one.

        Returns:
            `.output` (text, lines ended by line feeds), `.status` (0 to 255, None without one), `.at` and `.done`.

        Raises:
            CommandFailed: the status is not 0, and `check` was given.
            ExpectationFailed: it did not end in time.
            UsageError: no prompt is known; the command is empty or has several lines; it restarted the device, for
                which `send` and `boot` are made.
            InconclusiveError: the device was restarted by us meanwhile, or before, and nobody waited for its start.
        """
        run = runner(shell)
        if prompt is not None:
            check_prompt(prompt, "Console.run()")
        return run(self, check_command(command), within, check, self._prompt if prompt is None else prompt)

    def login(
        self,
        user: str,
        password: str | None = None,
        *,
        within: str | Span = "30s",
        prompt: str | None = None,
        user_prompt: str = shell.USER_PROMPT,
        password_prompt: str = shell.PASSWORD_PROMPT,
        refused: str = shell.REFUSED,
    ) -> Match:
        """Logs in, if nobody is logged in yet. The password is masked in every artefact from then on.

        Args:
            prompt: a pattern for the prompt of the shell; that of the console, or `$`, `#` or `>` at the end of a line.
            user_prompt: what asks for the user name.
            password_prompt: what asks for the password.
            refused: what says that the login is refused.

        Returns:
            The prompt of the shell.

        Raises:
            Refused: the device refused the login.
            ExpectationFailed: it asked for nothing.
            UsageError: it asked for a password and there is none.
        """
        if prompt is not None:
            check_prompt(prompt, "Console.login()")
        asked = self._prompt if prompt is None else prompt
        return shell.login(self, user, password, within, asked, user_prompt, password_prompt, refused)

    def boot(
        self,
        pattern: str,
        *,
        after: HasInstant | Stamp | None = None,
        within: str | Span | None = None,
        stop_autoboot: str | None = None,
        key: str | bytes = " ",
        fails: Sequence[str] = (),
    ) -> Match:
        """Waits until the device has started, and says at once if it will not.

        Args:
            pattern: what says that it has.
            after: what made it start (power, reset); the window begins there.
            stop_autoboot: a pattern at which `key` is sent to stay in the boot loader; `pattern` is its prompt then.
            key: what is sent then, without a line end.
            fails: patterns that must not come before it: `r"Kernel panic"`, `r"Bad CRC"`.

        Raises:
            UnexpectedEvent: one of `fails` came.
            ExpectationFailed: `pattern` (or `stop_autoboot`) did not come.
        """
        return shell.boot(self, pattern, after, within, stop_autoboot, key, tuple(fails))

    def hide(self, text: str) -> None:
        """Masks a text in every artefact of the run from now on. Texts of less than 4 bytes are not masked."""
        self._stream.hide(text)

    def play(self, program: Program, *, check: bool = True) -> Played:
        """Runs a stimulus program to its end; the core executes it alone. Its sends are stimuli. Ctrl-C stops it.

        Args:
            program: what is to be done (`fieldrig.stimulus`).
            check: raise if it was not completed; otherwise the outcome is yours to look at.

        Raises:
            ExpectationFailed: what it waited for did not come; UnexpectedEvent: what should not come came.
            InconclusiveError: a slot was too late and that ends it; what it waited for may have come too late, or
                before the send behind which it was to come; or nobody knows whether anything could have come.
            PortLost, ConnectionLost: the port went away.
            UsageError: what is wrong with the program, or the port cannot do what it says.
        """
        self._timeline.approach()
        before = self._timeline.last_stimulus
        played = self._stream.play(program)
        self._note(played)
        if check:
            doubt = self._doubt() or (None if played.outcome == "completed" else self._shared())
            about = (self._name, self._stream, self._timeline, doubt, self._belongs_to)
            problem = unfulfilled(program, played, before, *about)
            if problem is not None:
                raise problem
        return played

    def begin(self, program: Program) -> Performance:
        """Begins a stimulus program, which runs while the test does something else; one at a time.

        Raises:
            PortLost, ConnectionLost: the port went away.
            UsageError: what is wrong with the program.
        """
        self._timeline.approach()
        playing = self._stream.begin(program)
        self._timeline.stimulus(playing.at)
        return Performance(playing, self._note)

    def _note(self, played: Played) -> None:
        if played.sent:
            self._timeline.stimulus(played.sent[-1].at)

    def close(self) -> None:
        """Closes the port; closing twice is fine."""
        self._timeline.forget(self._arrivals)
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def doubt(self, reason: str | None) -> None:
        """Says why text that does not come is held against nobody for now; None: against the device again."""
        self._why_not = reason

    def _doubt(self) -> str | None:
        if self._why_not is not None:
            return self._why_not
        if self._proven or self._stream.length:
            return None
        return "nothing ever came through this port: is it connected, are speed and format right?"

    def _shared(self) -> str | None:
        """Who else has the port open and may take what comes, if anybody."""
        found = sharers(self.url)
        return f"the port is open in {', '.join(found)}, too, which may take what comes" if found else None

    def _next_command(self) -> str:
        """What no command of any console had before."""
        self._commands += 1
        return f"{self._key}.{self._commands}"

    def _arrivals(self, since: Stamp) -> list[tuple[str, Observation]]:
        return [(self._name, line) for line in self._stream.lines(since)]


def _octets(text: object, name: str) -> bytes:
    if isinstance(text, bytes | bytearray | memoryview):
        return bytes(text)
    if not isinstance(text, str):
        what = f"{name}={text!r} is neither text nor bytes"
        raise UsageError(f"Console.send(): {what}", hint="write str(..) or bytes(..)")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        what = f"{name}={text!r} has {text[error.start]!r}, which UTF-8 cannot say"
        raise UsageError(f"Console.send(): {what}", hint="send bytes") from None
