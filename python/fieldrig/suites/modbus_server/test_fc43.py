"""Function 43, Encapsulated Interface Transport, with MEI type 14, Read Device Identification."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest

from .outcome import Inapplicable, Missed
from .server import Server
from .tables import exception_must_be, exchange

MEI = 0x0E
BASIC, REGULAR, EXTENDED, SPECIFIC = 1, 2, 3, 4
LEVELS = (0x01, 0x02, 0x03, 0x81, 0x82, 0x83)
LAST_OF = {BASIC: 0x02, REGULAR: 0x7F, EXTENDED: 0xFF}
"""The last object id of each category (AP 6.21)."""
MOST_ANSWERS = 260


def request(code: int, first: int = 0) -> bytes:
    return bytes([43, MEI, code, first])


@dataclass(frozen=True)
class Part:
    """One answer, taken apart."""

    code: int
    conformity: int
    more: int
    following: int
    objects: tuple[tuple[int, bytes], ...]


def part(server: Server, code: int, first: int = 0) -> Part:
    """Asks once; the answer's own lengths must agree."""
    what = f"identification, code {code:02X} from object {first:02X},"
    answer = exchange(server, request(code, first), what)
    if answer.function & 0x80 and (code, first) == (BASIC, 0):
        raise Inapplicable(f"{what} got {answer.says()}: there is none (see FC43-01)")
    pdu = answer.pdu
    shown = f"{what} got {pdu[:16].hex(' ').upper()} ({len(pdu)} bytes)"
    if pdu[0] != 43 or len(pdu) < 7 or pdu[1] != MEI:
        raise Missed(f"{shown}, not an identification")
    objects, at = [], 7
    for _ in range(pdu[6]):
        if at + 2 > len(pdu) or at + 2 + pdu[at + 1] > len(pdu):
            raise Missed(f"{shown}: {pdu[6]} objects do not fit in it")
        objects.append((pdu[at], pdu[at + 2 : at + 2 + pdu[at + 1]]))
        at += 2 + pdu[at + 1]
    if at != len(pdu):
        raise Missed(f"{shown}: {len(pdu) - at} bytes behind its {pdu[6]} objects")
    if pdu[4] not in (0x00, 0xFF):
        raise Missed(f"{shown}: more follows is {pdu[4]:02X}, not 00 or FF")
    return Part(pdu[2], pdu[3], pdu[4], pdu[5], tuple(objects))


def everything(server: Server, code: int, first: int = 0) -> list[Part]:
    """Asks on as long as more follows."""
    answers = [part(server, code, first)]
    while answers[-1].more:
        following = answers[-1].following
        seen = [number for answer in answers for number, _ in answer.objects]
        if not answers[-1].objects or following in seen or len(answers) >= MOST_ANSWERS:
            raise Missed(f"code {code:02X}: object {following:02X} is to follow {len(seen)} objects; there is no end")
        answers.append(part(server, code, following))
    return answers


def objects_of(server: Server, code: int) -> dict[int, bytes]:
    """All objects of a category; none may come twice, all must ascend."""
    found = [pair for answer in everything(server, code) for pair in answer.objects]
    numbers = [number for number, _ in found]
    if numbers != sorted(set(numbers)):
        raise Missed(f"code {code:02X}: the objects are {bytes(numbers).hex(' ').upper()}, not in ascending order")
    return dict(found)


def conformity(server: Server) -> int:
    return part(server, BASIC).conformity


@pytest.mark.requirement("FC43-01")
def test_basic_identification_is_there(server: Server) -> None:
    answer = exchange(server, request(BASIC), "basic identification")
    if answer.function & 0x80:
        raise Missed(f"basic identification got {answer.says()}")
    objects = objects_of(server, BASIC)
    if list(objects) != [0, 1, 2]:
        raise Missed(f"basic identification has the objects {bytes(objects).hex(' ').upper()}, not 00 01 02")
    for number, value in objects.items():
        if not value.isascii():
            raise Missed(f"object {number:02X} is no text: {value.hex(' ').upper()}")
    level = conformity(server)
    if level not in LEVELS:
        raise Missed(f"the conformity level is {level:02X}, not 01 to 03 or 81 to 83")
    server.note(f"level {level:02X}: {', '.join(value.decode() for value in objects.values())}")


@pytest.mark.requirement("FC43-02")
def test_more_of_it_comes_in_ascending_order(server: Server) -> None:
    level = conformity(server) & 0x7F
    if level < REGULAR:
        raise Inapplicable("the server has basic identification only")
    basic = objects_of(server, BASIC)
    for code in range(REGULAR, min(level, EXTENDED) + 1):
        objects = objects_of(server, code)
        wrong = [
            number
            for number in objects
            if number > LAST_OF[code] or basic.get(number, b"") not in (b"", objects[number])
        ]
        if wrong or set(objects) & set(basic) not in (set(), set(basic)):  # whether it has the basic ones, too, is open
            raise Missed(f"code {code:02X} gives the objects {bytes(objects).hex(' ').upper()}")
        server.note(f"code {code:02X}: {len(objects)} objects")


@pytest.mark.requirement("FC43-03")
def test_one_object_is_given_alone(server: Server) -> None:
    _individual(server)
    for number, value in objects_of(server, BASIC).items():
        answer = part(server, SPECIFIC, number)
        if answer.objects != ((number, value),) or answer.more:
            raise Missed(f"code 04 for object {number:02X} gave {answer.objects}, more follows {answer.more:02X}")


@pytest.mark.requirement("FC43-04")
def test_one_object_that_does_not_exist_is_refused(server: Server) -> None:
    _individual(server)
    missing = _missing(server)
    exception_must_be(server, 2, request(SPECIFIC, missing), f"code 04 for object {missing:02X}, which does not exist,")


def _individual(server: Server) -> None:
    level = conformity(server)
    if not level & 0x80:
        raise Inapplicable(f"conformity level {level:02X}: the server does not offer single objects")


def _missing(server: Server) -> int:
    """An object that the server does not have."""
    known = objects_of(server, min(max(conformity(server) & 0x7F, BASIC), EXTENDED))
    return next(number for number in range(0x7F, 0, -1) if number not in known)


@pytest.mark.requirement("FC43-05")
def test_stream_from_an_object_that_does_not_exist_begins_at_the_first(server: Server) -> None:
    missing = _missing(server)
    for code in (BASIC, REGULAR, EXTENDED):
        first, seen = part(server, code).objects[:1], part(server, code, missing).objects[:1]
        if seen != first:
            what = f"code {code:02X} from object {missing:02X}, which is none,"
            raise Missed(f"{what} begins with {seen}, from object 00 with {first}")


@pytest.mark.requirement("FC43-06")
def test_other_codes_are_refused(server: Server) -> None:
    for code in (0x00, 0x05, 0xFF):
        exception_must_be(server, 3, request(code), f"identification with code {code:02X}")


@pytest.mark.requirement("FC43-07")
def test_code_above_the_level_gets_what_there_is(server: Server) -> None:
    level = conformity(server) & 0x7F
    for code in range(level + 1, EXTENDED + 1):
        if objects_of(server, code) != objects_of(server, level):
            raise Missed(f"code {code:02X}, above the level {level:02X}, does not give what the level offers")
    if level >= EXTENDED:
        raise Inapplicable("the server offers the highest level")


@pytest.mark.requirement("FC43-08")
def test_long_identification_comes_in_several_answers(server: Server) -> None:
    code = min(max(conformity(server) & 0x7F, BASIC), EXTENDED)
    answers = everything(server, code)
    if len(answers) < 2:
        raise Inapplicable("all of it fits in one answer")
    for answer, after in pairwise(answers):
        if not after.objects or after.objects[0][0] != answer.following:
            raise Missed(f"object {answer.following:02X} was to follow, {after.objects[:1]} came")
    objects_of(server, code)
    server.note(f"{len(answers)} answers")


@pytest.mark.requirement("FC43-09")
def test_last_answer_says_that_nothing_follows(server: Server) -> None:
    for code in (BASIC, REGULAR, EXTENDED):
        last = everything(server, code)[-1]
        if last.following:
            raise Missed(f"code {code:02X}: nothing follows, and the next object is {last.following:02X}, not 00")


@pytest.mark.requirement("FC43-10")
def test_other_mei_types_get_exception_01(server: Server) -> None:
    for mei in (0x00, 0x0C, 0x0F, 0xFF):
        exception_must_be(server, 1, bytes([43, mei, 1, 0]), f"MEI type {mei:02X}")


@pytest.mark.requirement("FC43-11")
def test_mei_type_and_code_come_back(server: Server) -> None:
    for code in (BASIC, REGULAR, EXTENDED):
        pdu = exchange(server, request(code), f"identification, code {code:02X},").pdu
        if pdu[:3] != bytes([43, MEI, code]):
            raise Missed(f"code {code:02X} got {pdu[:3].hex(' ').upper()}, not 2B 0E {code:02X}")
