"""One suite for the board: emulated, its firmware in QEMU, or a board on the desk.

pytest --bench bench.toml                       # emulated
pytest --bench bench.toml --profile real        # the firmware in QEMU
pytest --bench lab.toml                         # a board on serial adapters
"""

from pathlib import Path

import pytest

from fieldrig import near
from fieldrig.errors import ExceptionAnswer, InconclusiveError, NoAnswer, Unanswered

SILENCE = (NoAnswer, Unanswered)
"""No answer, whoever is to blame: these tests want none."""
BUS_ERRORS, SERVER_MESSAGES = 12, 14
"""What function 08 counts: damaged frames, frames for this unit."""


def counted(board, what):
    """A counter of the board."""
    return board.modbus.diagnostics(what, [0]).fields["data"][0]


def undisturbed(bench, since, problem):
    """Ends the test as inconclusive if the host held up the board: then `problem` is not the board's."""
    if bench.rig.stalls(since):
        raise InconclusiveError(f"{problem}, but the host held up the board meanwhile")


def symbol(name):
    """Where a variable of the firmware is."""
    lines = Path(__file__).with_name("firmware.symbols").read_text().splitlines()
    return next(int(line.split()[0], 16) for line in lines if line.split()[2] == name)


def test_the_console_tells_the_version(board):
    asked = board.console.send("ver")
    assert board.console.expect(r"fw (\S+)", after=asked, within="2s")[1] == "1.0"
    assert board.modbus.read("version").value == 0x0100


def test_what_was_written_is_read_back(board):
    board.modbus.write("setpoint", 42.5)
    assert board.modbus.read("setpoint").value == near(42.5, 0.01)
    board.modbus.write_registers(2, [0x1234, 0xABCD, 0, 0xFFFF])
    assert board.modbus.read_holding(2, 4).values == (0x1234, 0xABCD, 0, 0xFFFF)


@pytest.mark.parametrize("setpoint", [-400, 1250])
def test_the_ends_of_the_range_can_be_set(board, setpoint):
    board.modbus.write_register(0, setpoint & 0xFFFF)
    assert board.modbus.read_holding(0).values == (setpoint & 0xFFFF,)


@pytest.mark.parametrize(
    ("code", "pdu"),
    [
        (1, "41"),  # a function that nobody has
        (1, "01 0000 0001"),  # one that this board has not
        (2, "03 000F 0002"),  # the last register and one behind it
        (2, "06 0010 0000"),
        (3, "03 0000 0000"),  # nothing
        (3, "03 0000 007E"),  # more than fits
        (3, "06 0000 04E3"),  # 125.1 degrees
        (3, "10 0000 0002 02 0000"),  # two registers in two bytes
    ],
)
def test_what_the_board_cannot_do_is_refused(board, code, pdu):
    with pytest.raises(ExceptionAnswer) as refused:
        board.modbus.raw_pdu(bytes.fromhex(pdu))
    assert refused.value.code == code


def test_registers_are_written_all_or_none(board):
    board.modbus.write_registers(0, [215, 2])
    with pytest.raises(ExceptionAnswer) as refused:
        board.modbus.write_registers(0, [300, 4])
    assert refused.value.code == 3
    assert board.modbus.read_holding(0, 2).values == (215, 2)


def test_a_damaged_request_is_counted_and_not_answered(board, bench):
    before = counted(board, BUS_ERRORS)
    since = bench.rig.now()
    with pytest.raises(SILENCE):
        board.modbus.asking(patch={"crc": 0}).read_holding(0)
    # The silence has a witness: the board heard a frame, and found it damaged.
    damaged = counted(board, BUS_ERRORS) - before
    if damaged != 1:
        undisturbed(bench, since, f"{damaged} damaged frames were counted")
    assert damaged == 1


def test_a_request_to_another_unit_is_not_answered(board, bench):
    before = counted(board, SERVER_MESSAGES)
    since = bench.rig.now()
    with pytest.raises(SILENCE):
        board.modbus.read_holding(0, unit=18)
    messages = counted(board, SERVER_MESSAGES) - before
    if messages != 1:
        undisturbed(bench, since, f"{messages} frames for this unit were counted")
    assert messages == 1  # the second question itself


@pytest.mark.real_only  # a pty keeps no silences, so the emulated board looks at lengths
def test_a_short_pause_within_a_request_does_no_harm(board, bench):
    before = counted(board, BUS_ERRORS)
    try:
        board.modbus.asking(split=[(4, "1ms")]).read_holding(0)
    except NoAnswer:
        if counted(board, BUS_ERRORS) > before:
            raise InconclusiveError("the board saw a longer pause than 1 ms: it may have been ours") from None
        raise


@pytest.mark.real_only
def test_three_and_a_half_characters_of_silence_end_a_request(board, bench):
    before = counted(board, BUS_ERRORS)
    since = bench.rig.now()
    try:
        board.modbus.asking(split=[(4, "12ms")]).read_holding(0)
    except SILENCE:
        damaged = counted(board, BUS_ERRORS) - before
        if damaged != 2:
            undisturbed(bench, since, f"of two pieces of a request {damaged} were counted")
        assert damaged == 2
    else:
        undisturbed(bench, since, "it answered a request with 12 ms of silence in it")
        pytest.fail("it answered a request with 12 ms of silence in it")


@pytest.mark.needs("restart")
def test_a_reset_is_told_counted_and_clears_the_registers(board):
    boots = board.modbus.read("boots").value
    board.modbus.write("setpoint", 55.5)
    reset = board.restart()
    told = board.console.expect(r"fieldrig-fw (\S+) boot (\d+)", after=reset, within="5s")
    board.console.expect(r"ready\r?\n", within="2s")
    # A reset by a relay takes the power, and with it the counter.
    assert told[1] == "1.0"
    assert int(told[2]) in (boots + 1, 1)
    assert board.modbus.read("boots").value == int(told[2])
    assert board.modbus.read("setpoint").value == near(20.0, 0.01)


@pytest.mark.needs("power:hang")
def test_a_board_that_hangs_is_silent_and_goes_on_where_it_was(board):
    board.modbus.write("setpoint", 33.0)
    boots = board.modbus.read("boots").value
    board.power.do("hang")
    with pytest.raises(SILENCE):
        board.modbus.read("setpoint")
    board.power.do("resume")
    # Its late answer answers nothing.
    assert board.modbus.read("boots").value == boots
    assert board.modbus.read("setpoint").value == near(33.0, 0.01)


@pytest.mark.needs("memory")
def test_what_was_written_stands_in_the_memory(board):
    board.modbus.write_registers(2, [0x1234, 0xABCD])
    stored = board.power.peek(symbol("holding"), 8)
    assert stored[4:] == bytes.fromhex("3412 CDAB")  # little-endian
    assert int.from_bytes(stored[:2], "little") == board.modbus.read_holding(0).values[0]
