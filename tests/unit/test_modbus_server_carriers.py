"""The framings of the suite for Modbus servers, the times of lines, addresses of servers, and damaged requests."""

from __future__ import annotations

import pytest

from fieldrig.errors import UsageError
from fieldrig.suites.modbus_server import places
from fieldrig.suites.modbus_server.carriers import CARRIERS, ascii, rtu
from fieldrig.suites.modbus_server.frames import answer_length, read_pdu
from fieldrig.suites.modbus_server.mutations import DANGEROUS, is_harmless, mutated, shrunk
from fieldrig.suites.modbus_server.silences import silences

RTU, ASCII = CARRIERS["rtu"], CARRIERS["ascii"]
ANSWER = bytes.fromhex("03 02 12 34")
READ = read_pdu(3, 0x6B, 3)


def test_rtu_frames_are_those_of_the_standard() -> None:
    # The example of AP 6.3 to unit 17, as libmodbus sends it (fixtures/modbus).
    assert RTU.request(READ, unit=0x11) == bytes.fromhex("11 03 00 6b 00 03 76 87")


def test_ascii_frames_are_those_of_the_standard() -> None:
    # The example of the serial line guide for the LRC: 11 03 00 6B 00 03 gives 7E.
    assert ASCII.request(READ, unit=0x11) == b":1103006B00037E\r\n"


@pytest.mark.parametrize("carrier", list(CARRIERS.values()), ids=list(CARRIERS))
def test_what_is_framed_is_cut_and_taken_apart_again(carrier: ascii.Ascii | rtu.Rtu) -> None:
    request = carrier.request(READ, unit=7, transaction=9)
    assert carrier.requests(request) == [(request, 7, READ)]
    answer = carrier.answer(ANSWER, request)
    (cut,) = carrier.split(answer, complete=False)
    assert (cut.raw, cut.unit, cut.pdu, cut.problem) == (answer, 7, ANSWER, None)
    assert [other.raw for other in carrier.split(answer + answer, complete=False)] == [answer, answer]
    for length in range(1, len(answer)):
        assert carrier.split(answer[:length], complete=False) == []
        assert not carrier.disputed(answer[:length])


@pytest.mark.parametrize(
    ("carrier", "frame", "problem"),
    [
        (RTU, "01 03 02 12 34 b5 34", "the CRC is b5 34, the bytes before it give b5 33"),
        (RTU, "01 03 02 12 34 33 b5", "the CRC is 33 b5 (its bytes are swapped), the bytes before it give b5 33"),
        (RTU, "01 03 02", "3 bytes, a frame has 4 to 256"),
        (ASCII, b":0103021234B5\r\n".hex(), "the LRC is B5, the bytes before it give B4"),
        (ASCII, b"0103021234B4\r\n".hex(), "it does not begin with a colon"),
        (ASCII, b":0103021234B4\n".hex(), "it does not end with CR LF"),
        (ASCII, b":0103021234B\r\n".hex(), "between colon and CR LF stands more, or less, than pairs of"),
        (ASCII, b":0103\r\n".hex(), "7 characters, a frame has 9 to 513"),
    ],
)
def test_what_is_wrong_with_a_frame_is_said(carrier: rtu.Rtu, frame: str, problem: str) -> None:
    (cut,) = carrier.split(bytes.fromhex(frame), complete=True)
    assert cut.problem is not None and cut.problem.startswith(problem)
    assert carrier.requests(bytes.fromhex(frame)) is None


@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=list(CARRIERS))
@pytest.mark.parametrize("data", [b"", b"\0", b"\xff" * 5, bytes(300), b":", b":\r\n", b"\r\n" * 3, b":01G3\r\n:"])
def test_any_bytes_can_be_cut_and_shown(carrier: rtu.Rtu, data: bytes) -> None:
    for complete in (False, True):
        assert sum(len(cut.raw) for cut in carrier.split(data, complete=complete)) <= len(data)
    for sender in ("client", "server"):
        assert all(isinstance(text, str) for text in carrier.dissect(data, sender))  # type: ignore[arg-type]
    carrier.requests(data)
    carrier.disputed(data)


def test_the_end_of_an_rtu_answer_of_unknown_length_is_for_time_to_tell() -> None:
    echo = RTU.request(bytes.fromhex("08 00 00 a5 37"), unit=1)
    assert RTU.disputed(echo) and RTU.split(echo, complete=False) == []
    (cut,) = RTU.split(echo, complete=True)
    assert cut.problem is None


def test_lengths_of_answers_are_predicted() -> None:
    for pdu, length in (
        (b"\x83\x02", 2),
        (b"\x03\x04", 6),
        (b"\x10", 5),
        (b"\x16", 7),
        (b"\x18\x00\x06", 9),
        (b"\x18\x00", None),
        (b"\x2b\x0e", None),
        (b"", None),
    ):
        assert answer_length(pdu) == length


@pytest.mark.parametrize(
    ("line", "times"),
    [
        ("9600 8E1", (1145.833, 1718.75, 4010.417)),
        ("19200 8N2", (572.917, 859.375, 2005.208)),
        ("9600 7E1", (1041.667, 1718.75, 4010.417)),
        ("115200 8N1", (86.806, 750.0, 1750.0)),
    ],
)
def test_silences_are_those_of_the_standard(line: str, times: tuple[float, ...]) -> None:
    known = silences(line)
    seen = (known.character * 1e6, known.inside * 1e6, known.between * 1e6)
    assert seen == pytest.approx(times, abs=0.001)


@pytest.mark.parametrize("line", ["9600", "fast 8E1", "9600 9E1", "0 8E1", "9600 8X1", ""])
def test_a_line_that_is_none_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="is no line"):
        silences(line)


@pytest.mark.parametrize(
    ("url", "carrier", "stream", "resolution"),
    [
        ("tcp://192.0.2.7:502", "tcp", "tcp://192.0.2.7:502", 0.0),
        ("rtu:///dev/ttyUSB0?line=9600+8E1", "rtu", "serial:///dev/ttyUSB0?line=9600+8E1", 0.02),
        ("ascii:///dev/ttyUSB0?line=9600+7E1", "ascii", "serial:///dev/ttyUSB0?line=9600+7E1", 0.02),
        ("rtu:///dev/ttyUSB0?baud=9600&parity=none&stop=2", "rtu", "serial:///dev/ttyUSB0?line=9600+8N2", 0.02),
        ("ascii:///dev/ttyUSB0?parity=even&dtr=on", "ascii", "serial:///dev/ttyUSB0?line=19200+7E1&dtr=on", 0.02),
        ("rtu:///dev/ttyUSB0", "rtu", "serial:///dev/ttyUSB0?line=19200+8E1", 0.02),
        ("rtu+rfc2217://192.0.2.7:4001?line=9600+8E1", "rtu", "rfc2217://192.0.2.7:4001?line=9600+8E1", 0.1),
        ("ascii+rfc2217://192.0.2.7:4001?baud=9600", "ascii", "rfc2217://192.0.2.7:4001?line=9600+7E1", 0.1),
        ("rtu+unix:///run/device.sock", "rtu+tcp", "unix:///run/device.sock", 0.0),
        ("rtu+tcp://[::1]:4001", "rtu+tcp", "tcp://[::1]:4001", 0.0),
        ("udp://192.0.2.7:502", "udp", "udp://192.0.2.7:502", 0.0),
    ],
)
def test_addresses_of_servers_are_read(url: str, carrier: str, stream: str, resolution: float) -> None:
    place = places.parse(url)
    assert (place.carrier.name, place.stream, place.resolution) == (carrier, stream, resolution)
    assert (place.silences is not None) == ("rfc2217" in url or url.startswith(("rtu:", "ascii:")))


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("192.0.2.7:502", "for Modbus/TCP write tcp://192.0.2.7:502"),
        ("tpc://192.0.2.7:502", "write it like one of tcp://"),
        ("tcp://192.0.2.7", "write it like tcp://192.168.1.5:502"),
        ("rtu+tcp://:4001", "write it like rtu+tcp://"),
        ("rtu:///dev/ttyUSB0?line=often", "write it like rtu:///dev/ttyUSB0?"),
        ("rtu:///dev/ttyUSB0?baud=fast", "write it like rtu:///dev/ttyUSB0?"),
        ("pty://?line=9600+8E1", "write it like tcp://"),
        ("tls://192.0.2.7:0", "tls://192.0.2.7:802?cert=client.pem"),
        ("rtu://192.0.2.7:4001", "for frames inside a TCP connection write rtu+tcp://192.0.2.7:4001"),
    ],
)
def test_a_wrong_address_is_told_with_a_remedy(url: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        places.parse(url)
    assert url in caught.value.message
    assert caught.value.hint is not None and caught.value.hint.startswith(hint)


def test_damaged_requests_are_the_same_for_the_same_seed_and_never_write() -> None:
    valid = [CARRIERS["tcp"].request(read_pdu(3, 0, quantity), unit=1, transaction=7) for quantity in (1, 2)]
    first = list(mutated(valid, 7, 1, 500))
    assert first == list(mutated(valid, 7, 1, 500))
    assert first != list(mutated(valid, 7, 2, 500))
    assert {"bits", "byte", "cut", "spliced", "255"} <= {what.split()[0] for what, _ in first}
    assert not any(frame in valid for _, frame in first)
    assert all(not DANGEROUS & set(frame[7:]) for _, frame in first)
    assert not is_harmless(CARRIERS["tcp"].request(b"\x06\0\0\0\0", unit=1), 7)


def test_a_request_that_does_harm_is_shrunk_to_what_does_it() -> None:
    frame = bytes.fromhex("12 34 00 00 00 09 01 03 ee 00 00 01 ff 55 aa")
    least = shrunk(frame, lambda candidate: b"\xee" in candidate and len(candidate) > 2, tries=200)
    assert least.count(b"\xee") == 1 and len(least) == 3
    asked: list[bytes] = []
    shrunk(bytes(range(250)), lambda candidate: bool(asked.append(candidate)) or True, tries=40)  # type: ignore[func-returns-value]
    assert len(asked) <= 40, "the number of tries is kept"
