"""Consoles: several patterns, marks, reading, colours, pacing, boot and login, and what does not fit into memory."""

from __future__ import annotations

import os
import pickle
import re
import signal
import socket
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from fieldrig import BenchPlan, Rig, Stamp, duration
from fieldrig.errors import (
    ExpectationFailed,
    InconclusiveError,
    PortLost,
    Refused,
    Unanswered,
    UnexpectedEvent,
    UsageError,
)
from fieldrig.serial import Console, Mark
from fieldrig.stimulus import Program
from fieldrig.stream import Stream
from fieldrig.stream_inbox import StreamInbox

Pair = tuple[Console, Stream]


@pytest.fixture
def sim() -> Iterator[Rig]:
    with Rig(clock="virtual", trace="counts") as rig:
        yield rig


@pytest.fixture
def pair(sim: Rig) -> Iterator[Pair]:
    """A console, and the device at the other end; bytes take no time."""
    sim.add_wire("console")
    with Stream("wire://console", rig=sim) as device, Console("wire://console", rig=sim, prompt="=> ") as console:
        yield console, device


def test_of_several_patterns_the_one_that_is_complete_first_matches(pair: Pair) -> None:
    console, device = pair
    device.send(b"starting .. panic: no disk\nlogin: ")
    first = console.expect_any([r"login: ", r"panic: (\w+)", r"disk"], within="1s")
    assert (first.index, first.pattern, first[1]) == (1, r"panic: (\w+)", "no")
    assert console.expect_any(["login: ", "disk"], within="1s").index == 1
    assert pickle.loads(pickle.dumps(first)) == first


def test_each_byte_of_a_line_has_its_stamp_and_a_match_the_one_of_its_last(sim: Rig) -> None:
    sim.add_wire("line", "115200 8N1")
    with Stream("wire://line", rig=sim) as device, Console("wire://line", rig=sim) as console:
        sent = device.send(b"ab ok\n")
        found = console.expect("ok", within="1s")
        # 10 bits at 115200 baud: the fifth byte is complete 5 * 10 / 115200 s after the first bit.
        assert (found.at - sent.at).latest_ns == pytest.approx(5 * 10 / 115200 * 1e9, abs=10)
        assert [offset for offset, _ in console.stream.read(0, 5).stamps] == [0, 1, 2, 3, 4]


def test_silence_is_asked_for_of_several_patterns_at_once(pair: Pair) -> None:
    console, device = pair
    device.send(b"all is fine\n")
    console.expect_none(["panic", r"error \d+"], for_="1s")
    device.send_parts([("100ms", b"error 17\n")])
    with pytest.raises(UnexpectedEvent, match=r"any of /panic/, /error \\d\+/ came, .*: error 17"):
        console.expect_none(["panic", r"error \d+"], for_="1s")


def test_all_of_several_patterns_may_come_in_any_order(pair: Pair) -> None:
    console, device = pair
    device.send(b"eth0 up\nusb up\ndisk up, eth0 up\n")
    names = [match.text for match in console.expect_all(["disk", "usb", "eth0", "eth0"], within="1s")]
    assert names == ["disk", "usb", "eth0", "eth0"]
    with pytest.raises(ExpectationFailed, match="/wlan/ did not come"):
        console.expect_all(["wlan", "usb"], within="1s")


def test_a_mark_is_a_cursor_that_stays(pair: Pair) -> None:
    console, device = pair
    device.send(b"boot 1\n")
    console.expect("boot 1", within="1s")
    mark = console.mark()
    device.send(b"boot 2\nready\n")
    assert console.expect("ready", within="1s").start == 14
    for _ in range(2):
        assert console.expect(r"boot (\d)", after=mark, within="1s")[1] == "2"
    with pytest.raises(ExpectationFailed, match=r"(?s)/boot 1/ did not come.*the mark at byte 7"):
        console.expect("boot 1", after=mark, within="10ms")
    assert [line.text for line in console.lines(mark)] == ["boot 2", "ready"]
    assert [line.text for line in console.lines()] == ["boot 1", "boot 2", "ready"]


def test_the_mark_of_another_console_is_an_instant_and_no_place(pair: Pair, sim: Rig) -> None:
    console, device = pair
    sim.add_wire("other")
    with Console("wire://other", rig=sim) as other:
        device.send(b"stale\n")
        console.expect("stale", within="1s")
        mark = other.mark()
        with pytest.raises(ExpectationFailed, match="/stale/ did not come"):
            console.expect("stale", after=mark, within="1s")
        assert console.lines(mark) == ()
        device.send(b"fresh\n")
        assert console.expect("fresh", after=mark, within="2s").start == 6
        with pytest.raises(UsageError, match="an empty pattern is there at once"):
            console.expect("", within="1s")


def test_what_comes_is_read_line_by_line_and_byte_by_byte(pair: Pair) -> None:
    console, device = pair
    device.send(b"temp 23.5\r\n\r\nmode a")
    first = console.read_line(within="1s")
    assert first.text == "temp 23.5"
    assert console.read_line(within="1s").text == ""
    with pytest.raises(ExpectationFailed, match="a line did not come"):
        console.read_line(within="1s")
    device.send(b"uto\n\x02\x00\x03abc\x03rest")
    assert console.read_line(within="1s").text == "mode auto"
    header = console.read_exactly(3, within="1s")
    assert (header.data, len(header.stamps)) == (b"\x02\x00\x03", 1)
    assert console.read_until(r"(?-u)\x03", within="1s").data == b"abc\x03"
    with pytest.raises(ExpectationFailed, match="5 bytes did not come"):
        console.read_exactly(5, within="1s")
    assert console.read_exactly(4, within="1s").data == b"rest"


def test_reading_begins_behind_the_last_stimulus(pair: Pair) -> None:
    console, device = pair
    device.send(b"stale\n")
    console.stream.receive(6, within="1s")
    console.send("ver")
    device.send(b"fw 1.4\n")
    assert console.read_line(within="1s").text == "fw 1.4"


def test_what_may_have_come_before_the_cursor_is_read_by_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Rig(trace="counts") as rig:
        before = rig.now()
        with Console(f"tcp://127.0.0.1:{listener.getsockname()[1]}", rig=rig) as console:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"half a line\nwhole\n")
                last = console.stream.search("whole", 0, None, rig.now().latest_ns + 20_000_000_000)
                assert last is not None
                # The cursor lies within the uncertainty of the bytes that came.
                cursor = Stamp(before.earliest_ns, last.at.latest_ns)
                console.stream.look()  # seen empty once more, so that what comes next surely came behind it
                connection.sendall(b"next\n")
                assert console.read_line(after=cursor, within="20s").text == "next"
                connection.sendall(b"\x02abc")
                with pytest.raises(InconclusiveError, match="may have come before or after the cursor"):
                    Console.read_exactly(reader(console), 4, after=cursor, within="20s")


def reader(console: Console) -> Console:
    """The same console to somebody who has read nothing yet."""
    console._inbox = StreamInbox(console.stream, console._timeline, console.name)
    return console


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_colours_are_no_text_and_offsets_are_those_of_the_bytes(sim: Rig, size: int) -> None:
    sim.add_wire("colours")
    painted = b"\x1b[1;32mroot@box\x1b[0m:\x1b[34m~\x1b[0m# \x1b]0;root@box: ~\x07\x1b[?2004h\r\n\x1b[31mred\x1b[m\r\n"
    with Stream("wire://colours", rig=sim) as device, Console("wire://colours", rig=sim, ansi="strip") as console:
        for start in range(0, len(painted), size):
            device.send(painted[start : start + size])
        found = console.expect(r"root@box:~# ", within="1s")
        assert (found.text, found.start, found.end) == ("root@box:~# ", 7, painted.index(b"# ") + 2)
        assert console.expect(r"(?m)^red$", within="1s").text == "red"
        assert [line.text for line in console.lines()] == ["root@box:~#", "red"]
        console.ansi = "keep"
        assert console.expect(r"\x1b\[31mred", after=Mark(Stamp(0), 0), within="1s").text == "\x1b[31mred"
        with pytest.raises(UsageError, match='ansi is "keep" or "strip"'):
            console.ansi = "hide"  # type: ignore[assignment]


def test_a_slow_device_is_sent_to_byte_by_byte_and_line_by_line(pair: Pair) -> None:
    console, device = pair
    sent = console.send("abc", end="", pace="2ms")
    assert (sent.done - sent.at).earliest >= duration("4ms")
    stamps = device.receive(3, within="1s").stamps
    gaps = [(later - earlier).earliest_ns for (_, earlier), (_, later) in pairwise(stamps)]
    assert all(gap >= 2_000_000 for gap in gaps) and len(gaps) == 2
    sent = console.send("one\ntwo\r\nthree", end="", pace="10ms", per="line")
    assert sent.data == b"one\ntwo\r\nthree"
    stamps = device.receive(14, within="1s").stamps
    assert [offset for offset, _ in stamps] == [0, 4, 9]
    assert all((later - earlier).earliest_ns >= 10_000_000 for (_, earlier), (_, later) in pairwise(stamps))
    with pytest.raises(UsageError, match='per is "byte" or "line"'):
        console.send("x", pace="1ms", per="word")  # type: ignore[arg-type]


def test_ctrl_c_ends_what_is_sent_slowly_although_each_pause_is_short() -> None:
    received = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def device() -> None:
            with server.accept()[0] as conn:
                received.extend(conn.recv(1))
                os.kill(os.getpid(), signal.SIGINT)
                while more := conn.recv(64):
                    received.extend(more)

        listening = threading.Thread(target=device)
        listening.start()
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with Console(f"tcp://127.0.0.1:{server.getsockname()[1]}") as console, pytest.raises(KeyboardInterrupt):
                console.send(b"x" * 100, end="", pace="20ms")
        finally:
            signal.signal(signal.SIGINT, before)
            listening.join()
    assert 1 <= len(received) < 100


def test_an_echo_that_does_not_come_stops_the_sending(pair: Pair) -> None:
    console, device = pair
    with pytest.raises(Unanswered, match='INCONCLUSIVE: .*the echo of "a" did not come'):
        console.send("abc", echo="50ms")
    assert device.receive(within="10ms").data == b"a"


def echoing(listener: socket.socket, lines: list[bytes]) -> None:
    """A device that sends back what it receives, byte by byte, with CR LF for LF; it stops at a line `end`."""
    connection, _ = listener.accept()
    with connection:
        line = b""
        while byte := connection.recv(1):
            connection.sendall(b"\r\n" if byte == b"\n" else b"." + byte)
            line += byte
            if byte == b"\n":
                lines.append(line)
                line = b""
            if lines and lines[-1] == b"end\n":
                return


@pytest.mark.parametrize("per", ["byte", "line"])
def test_each_part_waits_for_the_echo_of_the_one_before(per: str) -> None:
    lines: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        device = threading.Thread(target=echoing, args=(listener, lines))
        device.start()
        with Console(f"tcp://127.0.0.1:{listener.getsockname()[1]}") as console:
            sent = console.send("set 1\nset 2\nend", per=per, echo="20s")  # type: ignore[arg-type]
            assert console.stream.read(0, 1 << 20).data.count(b"\r\n") >= 2
        device.join(20)
    assert sent.data == b"set 1\nset 2\nend\n"
    assert lines == [b"set 1\n", b"set 2\n", b"end\n"]


def test_a_boot_is_stopped_in_the_boot_loader(pair: Pair) -> None:
    console, device = pair
    since = console.mark().at
    device.send(b"U-Boot 2024.01\nHit any key to stop autoboot: 3")
    device.send_parts([("10ms", b"\n=> ")])
    assert console.boot("=> ", after=since, within="5s", stop_autoboot="Hit any key", key=" ").text == "=> "
    assert device.receive(1, within="1s").data == b" "


def test_a_boot_that_fails_is_told_at_once(pair: Pair) -> None:
    console, device = pair
    since = console.mark().at
    device.send(b"Starting kernel ..\nKernel panic - not syncing\n")
    with pytest.raises(UnexpectedEvent, match=r"the start failed: .*Kernel panic.* came before /login: /"):
        console.boot("login: ", after=since, within="1h", fails=["Bad CRC", "Kernel panic"])


def talk(device: Stream, *script: tuple[bytes, bytes]) -> None:
    """Answers each text with another one, on the clock of the rig."""
    program = Program()
    for asked, said in script:
        program = program.wait(re.escape(asked), within="20s").send(said)
    device.begin(program)


def test_a_login_leaves_no_password_in_any_artefact(tmp_path: Path) -> None:
    echo = b"\r\nLast login: today\r\nopen sesame? indeed\r\n# "
    with Rig(clock="virtual", folder=str(tmp_path), trace="full") as rig:
        rig.add_wire("console")
        with Stream("wire://console", rig=rig) as device, Console("wire://console", rig=rig) as console:
            talk(device, (b"\n", b"\r\nbox login: "), (b"root\n", b"root\r\nPassword: "), (b"open sesame\n", echo))
            assert console.login("root", "open sesame", within="20s").index == 2
            with pytest.raises(ExpectationFailed) as failed:
                console.expect("never", after=console.stream.now(), within="10ms")
            assert "sesame" not in str(failed.value)
            with pytest.raises(ExpectationFailed) as failed:
                console.expect("never", after=Stamp(0), within="10ms")
            assert "***? indeed" in str(failed.value)
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"Last login" in left and b"***********? indeed" in left
    assert b"sesame" not in left


@pytest.mark.parametrize("before", [52, 96, 150])
def test_where_a_line_is_cut_no_half_of_a_password_stands(pair: Pair, before: int) -> None:
    console, device = pair
    console.hide("open sesame")
    device.send(b"x" * before + b" open sesame\n")
    line = console.read_line(within="1s")
    for after in (line, Stamp(0)):
        with pytest.raises(ExpectationFailed) as failed:
            console.expect("never", after=after, within="1ms")
        assert "x" * 50 in str(failed.value)
        assert "open" not in str(failed.value)


def test_a_line_end_that_is_taken_for_a_user_begins_a_login_anew(pair: Pair) -> None:
    console, device = pair
    console.prompt = None
    talk(
        device,
        (b"\n", b"\r\nPassword: "),
        (b"\n", b"\r\nLogin incorrect\r\nbox login: "),
        (b"root\n", b"root\r\nPassword: "),
        (b"right one\n", b"\r\n# "),
    )
    assert console.login("root", "right one", within="20s").text.endswith("# ")


def test_a_refused_login_is_the_devices_doing(pair: Pair) -> None:
    console, device = pair
    talk(
        device,
        (b"\n", b"\r\nbox login: "),
        (b"root\n", b"root\r\nPassword: "),
        (b"wrong one\n", b"\r\nLogin incorrect\r\nbox login: "),
    )
    with pytest.raises(Refused, match="DUT: .*the login of root was refused: Login incorrect"):
        console.login("root", "wrong one", within="20s")


@pytest.mark.parametrize(
    "greeting",
    [
        b"Unauthorized access is denied and will be reported.",
        b"Access denied to whom it does not concern!",
        b"There were 3 invalid login attempts since the last login.",
    ],
)
def test_a_greeting_that_speaks_of_refusals_refuses_nobody(pair: Pair, greeting: bytes) -> None:
    console, device = pair
    console.prompt = None
    talk(
        device,
        (b"\n", b"\r\n" + greeting + b"\r\nbox login: "),
        (b"root\n", b"root\r\nPassword: "),
        (b"right one\n", b"\r\n" + greeting + b"\r\nroot@box:~# "),
    )
    assert console.login("root", "right one", within="20s").text.endswith("# ")


@pytest.mark.parametrize(
    "refusal",
    [
        b"Permission denied, please try again.\r\nPassword: ",
        b"% Access denied\r\nRouter>",
        b"% Login invalid\r\n\r\nUsername: ",
        b"% Bad passwords\r\n",
        b"sulogin: Authentication failure\r\n",
        b"Incorrect password.\r\nlogin: ",
        b"Login failed: wrong password\r\n",
    ],
)
def test_a_refusal_is_known_by_its_line(pair: Pair, refusal: bytes) -> None:
    console, device = pair
    console.prompt = None
    talk(
        device,
        (b"\n", b"\r\nbox login: "),
        (b"root\n", b"root\r\nPassword: "),
        (b"wrong one\n", b"\r\n" + refusal),
    )
    with pytest.raises(Refused, match="the login of root was refused: "):
        console.login("root", "wrong one", within="20s")


def test_what_an_earlier_console_began_ends_no_command_of_a_later_one(sim: Rig) -> None:
    sim.add_wire("console")
    with Stream("wire://console", rig=sim) as device:
        with Console("wire://console", rig=sim) as console, pytest.raises(ExpectationFailed):
            console.run("busy", within="1s")
        said = device.receive(lambda line: line.endswith(b"\n"), within="1s").data
        first = re.search(rb"fieldrig (\S+)-begin", said)
        assert first is not None
        with Console("wire://console", rig=sim) as console:
            mark = b"fieldrig-" + first[1]
            device.send_parts([("10ms", mark + b"-begin\r\nboom\r\n" + mark + b"-end-0\r\n")])
            with pytest.raises(ExpectationFailed, match="the begin of `check` did not come"):
                console.run("check", within="1s")


@pytest.mark.parametrize(
    ("pattern", "parts", "text"),
    [
        (r"version (\d)(\.\d)?", (b"version 1", b".5 "), "version 1.5"),
        (r"v1(\.\d)?", (b"v1", b".", b"5 "), "v1.5"),
        (r"ok( done)?", (b"ok", b" ", b"done\n"), "ok done"),
        (r"state (on|one)\b", (b"state on", b"e\n"), "state one"),
        (r"(?m)level \d+$", (b"level 1", b"2%\nlevel 34\n"), "level 34"),
        (r"(?m)level \d+$", (b"level 1", b"2"), "level 12"),
        (r"(?m)level \d$", (b"level 1", b"2%\nlevel 3\n"), "level 3"),
        (r"(?m)(^|\n)ok$", (b"ok", b"ay\nok\n"), "\nok"),
        (r"state (\d )?on\b", (b"state on", b"e, state 2 on\n"), "state 2 on"),
        (r"(^|, )done\z", (b"done", b" so far, done"), ", done"),
    ],
)
def test_where_what_came_is_cut_no_match_is_half_of_one(
    pair: Pair, pattern: str, parts: tuple[bytes, ...], text: str
) -> None:
    console, device = pair
    mark = console.mark()
    device.send_parts([("20ms", part) for part in parts])
    assert console.expect(pattern, after=mark, within="1s").text == text


def test_what_ends_with_the_text_is_taken_when_time_is_up(pair: Pair) -> None:
    console, device = pair
    mark = console.mark()
    device.send_parts([("980ms", b"\n"), ("1ms", b"level 1")])
    assert console.expect(r"level \d$", after=mark, within="1s").at == console.stream.read(1, 8).at


@pytest.mark.parametrize("pattern", ["x*", "(ok)?", "(?m)^", r"\b", "$"])
def test_what_is_found_where_nothing_came_is_not_looked_for(pair: Pair, pattern: str) -> None:
    console, _ = pair
    at_once = "matches nothing at all, so it is there at once"
    for look in (console.expect, console.read_until):
        with pytest.raises(UsageError, match=at_once):
            look(pattern, within="1s")
    with pytest.raises(UsageError, match=at_once):
        console.expect_none(["fine", pattern], for_="1s")


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        (b"get 7\r\nvalue get 7\r\n=> ", "value get 7\n"),
        (b"=> get 7\r\non\r\n=> ", "on\n"),
        (b"\x1b[1mget 7\r\non\r\n=> ", "on\n"),
        (b"value get 7\r\n=> ", "value get 7\n"),
        (b"on\r\n=> ", "on\n"),
    ],
)
def test_without_an_echo_all_of_the_output_is_output(pair: Pair, answer: bytes, output: str) -> None:
    console, device = pair
    talk(device, (b"get 7\n", answer))
    assert console.run("get 7", shell="prompt", within="1s").output == output


def test_who_is_logged_in_already_is_not_asked(pair: Pair) -> None:
    console, device = pair
    console.prompt = None
    talk(device, (b"\n", b"\r\nroot@box:~# "))
    assert console.login("root", "open sesame", within="20s").text.endswith("# ")


def flood(listener: socket.socket, size: int) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b"U-Boot 2024.01\n")
        block = b"[    1.234567] some driver: probed device 17, nothing else\n" * 1000
        for _ in range(size // len(block)):
            connection.sendall(block)
        connection.sendall(b"login: ")
        connection.recv(1)


def test_what_does_not_fit_into_memory_is_found_all_the_same(tmp_path: Path) -> None:
    size = 30_000_000
    with socket.create_server(("127.0.0.1", 0)) as listener, Rig(folder=str(tmp_path), trace="counts") as rig:
        device = threading.Thread(target=flood, args=(listener, size))
        device.start()
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        begin = Mark(rig.now(), 0)
        with Console(url, rig=rig, keep=1 << 20) as console:
            console.expect("login: ", within="60s")
            assert console.stream.length > 0.99 * size and console.stream.start == 0
            assert console.stream.memory < 8 << 20
            assert console.expect(r"U-Boot (\S+)", after=begin, within="60s")[1] == "2024.01"
            assert console.stream.read(0, 14).data == b"U-Boot 2024.01"
            assert [path.name for path in tmp_path.iterdir() if "spill" in path.name] == []
            console.send("", end="x")
        device.join(20)


def test_without_a_file_the_oldest_bytes_are_dropped_and_that_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        device = threading.Thread(target=flood, args=(listener, 1_000_000))
        device.start()
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with Console(url, keep=1 << 16, spill=0) as console:
            console.expect("login: ", within="20s")
            begin = Mark(Stamp(0), 0)
            with pytest.raises(Exception, match="BENCH: .*were dropped: the stream keeps the newest 65536 bytes"):
                console.expect("U-Boot", after=begin, within="1s")
            console.send("", end="x")
        device.join(20)
        with pytest.raises(UsageError, match="keep=10 is no whole number from 65536"):
            Console(url, keep=10)


def test_a_port_that_goes_away_while_several_patterns_are_waited_for_is_no_silence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with Console(f"tcp://127.0.0.1:{listener.getsockname()[1]}") as console:
            connection, _ = listener.accept()
            connection.sendall(b"one\n")
            console.expect("one", within="20s")
            connection.sendall(b"two\n")
            connection.close()
            with pytest.raises(PortLost):
                console.expect_all(["two", "three"], within="20s")


def test_a_match_that_may_grow_waits_for_the_rest_behind_colours_too(sim: Rig) -> None:
    sim.add_wire("slow", "300 8N1")  # a byte takes 33 ms
    with Stream("wire://slow", rig=sim) as device, Console("wire://slow", rig=sim, ansi="strip") as console:
        device.send(b"fw v1.4\x1b[0m2\n")
        assert console.expect(r"v(\d+\.\d+)", within="5s")[1] == "1.42"


MENU = """\
from fieldrig.model import Model

class Box(Model):
    faces = {"console": {"prompt": "box> ", "echo": True}}
    boot = "200ms"
    boot_lines = ["Boot ROM", {"at": "50ms", "text": "\\x1b[32mram ok\\x1b[0m"}]

    def on_line(self, link, line):
        for text in {"ver": ["fw 1.4.2"], "list": ["box> one", "two"]}.get(line, []):
            link.line(text)
"""
BOX = """\
[bench]
name = "menu"
clock = "virtual"
[link.console]
protocol = "console"
line = "9600 8N1"
[dut.box]
model = "box.py:Box"
links = { console = {} }
"""


def test_an_emulated_console_is_a_console(tmp_path: Path) -> None:
    (tmp_path / "box.py").write_text(MENU)
    (tmp_path / "bench.toml").write_text(BOX)
    with BenchPlan.load(tmp_path / "bench.toml").open(tmp_path / "run") as bench:
        console = bench.device("box").console
        console.ansi, console.prompt = "strip", "box> "
        started = bench.device("box").power.cycle(off="1s")
        assert console.expect_all(["Boot ROM", r"(?m)^ram ok$"], after=started, within="3s")[1].text == "ram ok"
        console.boot("box> ", after=started, within="3s", fails=["panic"])
        ran = console.run("ver", shell="prompt", within="2s")
        assert (ran.output, ran.status) == ("fw 1.4.2\n", None)
        assert console.run("list", shell="prompt", within="2s").lines == ["box> one", "two"]
        # 9600 baud: 4 bytes of the command, 5 of its echo, and the answer; no host is that slow or that fast.
        assert (ran.done - ran.at).latest_ns > 20 * 10 / 9600 * 1e9
        with pytest.raises(ExpectationFailed, match="the prompt behind `ver` did not come"):
            console.run("ver", shell="prompt", prompt="other> ", within="1s")
