"""Servers that break a single function: patches, unless only the device itself can do it."""

from __future__ import annotations

from ..pdus import (
    ON,
    bits,
    mask_write,
    packed,
    read_write,
    registers,
    words,
    write_coil,
    write_coils,
    write_register,
    write_registers,
)
from .base import Saboteur, one, patched
from .changes import answering, field, masquerading
from .patch import Patch, exception, is_exception


def _bits(function: int) -> dict[str, Saboteur]:
    """Saboteurs of functions 01 and 02."""
    section = f"FC{function:02}"

    def first_is_highest(pdu: bytes, answer: bytes) -> bytes:
        if field(pdu, 3) < 8 or is_exception(answer):
            return answer
        return answer[:2] + bytes([int(f"{answer[2]:08b}"[::-1], 2)]) + answer[3:]

    def stale_bits(pdu: bytes, answer: bytes) -> bytes:
        unused = 0xFF << (field(pdu, 3) % 8) & 0xFF if field(pdu, 3) % 8 and not is_exception(answer) else 0
        return answer[:-1] + bytes([answer[-1] | unused])

    def nothing(pdu: bytes, answer: bytes) -> bytes:
        return bytes([function, 0]) if field(pdu, 3) == 0 else answer

    def one_more(pdu: bytes, answer: bytes) -> bytes:
        return bytes([function, 251]) + bytes(251) if field(pdu, 3) == 2001 else answer

    def invented(pdu: bytes, answer: bytes) -> bytes:
        missing = is_exception(answer, 2) and field(pdu, 3) == 1
        return bytes([function, 1, 0]) if missing else answer

    changes = (first_is_highest, stale_bits, nothing, one_more, invented)
    return {f"{section}-{number:02}": answering(function, change) for number, change in enumerate(changes, 1)}


class OfFunction(Patch):
    """Changes one function."""

    def __init__(self, function: int) -> None:
        self._function = function


class FewerRegisters(OfFunction):
    """Refuses to read more than 124 registers."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return exception(pdu, 3) if pdu[0] == self._function and field(pdu, 3) == 125 else answer


class NothingIsAnAnswer(OfFunction):
    """Answers a read of nothing with nothing."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        nothing = pdu[0] == self._function and field(pdu, 3) == 0 and field(pdu, 1) != 0xFFFF
        return bytes([pdu[0], 0]) if nothing else answer


class Overflow(OfFunction):
    """Takes any quantity of registers; the byte count overflows."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        first, quantity = field(pdu, 1), field(pdu, 3)
        if pdu[0] != self._function or quantity <= 125 or first == 0xFFFF:
            return answer
        count = 2 * quantity % 256
        return bytes([pdu[0], count]) + bytes(count)


class Invents(OfFunction):
    """Answers a read of one register that is not there with zeros."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        missing = answer is not None and is_exception(answer, 2) and pdu[0] == self._function and field(pdu, 3) == 1
        return bytes([pdu[0], 2, 0, 0]) if missing else answer


def echoed_if_missing(pdu: bytes, answer: bytes) -> bytes:
    """A write to an address that does not exist is answered as if it were done."""
    return pdu if is_exception(answer, 2) else answer


class CoilStaysOn(Patch):
    """05: says that the coil is off and leaves it on."""

    def request(self, pdu: bytes) -> bytes:
        return write_coil(field(pdu, 1), ON) if pdu[:1] == b"\x05" and field(pdu, 3) == 0 else pdu

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return pdu if pdu[:1] == b"\x05" and answer is not None and not is_exception(answer) else answer


class AnyValueIsOn(Patch):
    """05: takes FFFF for on."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        if pdu[:1] != b"\x05" or field(pdu, 3) != 0xFFFF:
            return answer
        done = self.server(write_coil(field(pdu, 1), ON))
        return pdu if done is not None and not is_exception(done) else answer


class CoilAddressFirst(Patch):
    """05: judges the address before the value."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        if pdu[0] != 5 or answer != exception(pdu, 3):
            return answer
        there = self.server(b"\x01" + pdu[1:3] + b"\x00\x01")
        return exception(pdu, 2) if there is not None and is_exception(there, 2) else answer


def fifteen_bits(pdu: bytes) -> bytes:
    return write_register(field(pdu, 1), field(pdu, 3) & 0x7FFF)


def ninth_coil_is_lost(pdu: bytes) -> bytes:
    return pdu[:-1] + b"\x00" if field(pdu, 3) == 9 else pdu


def last_register_is_lost(pdu: bytes) -> bytes:
    return pdu[:-2] + b"\x00\x00" if field(pdu, 3) == 123 else pdu


def cut_to_1968(pdu: bytes) -> bytes:
    return write_coils(field(pdu, 1), pdu[6:252], quantity=1968) if field(pdu, 3) == 1969 else pdu


def cut_to_123(pdu: bytes) -> bytes:
    return write_registers(field(pdu, 1), pdu[6:252]) if field(pdu, 3) == 124 else pdu


def byte_count_of_coils_corrected(pdu: bytes) -> bytes:
    quantity = field(pdu, 3)
    size = (quantity + 7) // 8
    if pdu[5] == size or quantity > 1968:
        return pdu
    return write_coils(field(pdu, 1), pdu[6 : 6 + size].ljust(size, b"\x00"), quantity=quantity)


def byte_count_of_registers_corrected(pdu: bytes) -> bytes:
    quantity, data = field(pdu, 3), pdu[6:]
    if quantity > 123 or pdu[5] != len(data) or len(data) == 2 * quantity:
        return pdu
    return write_registers(field(pdu, 1), data[: 2 * quantity].ljust(2 * quantity, b"\x00"))


def rounded_up(pdu: bytes) -> bytes:
    """The bits behind the quantity are written, too, if there are any."""
    quantity, data = field(pdu, 3), pdu[6:]
    stray = quantity % 8 and data and data[-1] >> (quantity % 8)
    return write_coils(field(pdu, 1), data, quantity=8 * len(data)) if stray else pdu


def product_wraps(pdu: bytes) -> bytes:
    return write_registers(field(pdu, 1), pdu[6:8]) if field(pdu, 3) == 0x8001 else pdu


def filled_up(pdu: bytes) -> bytes:
    return pdu.ljust(6 + pdu[5], b"\x00") if len(pdu) < 6 + pdu[5] <= 253 else pdu


class WritesWhatIsThere(Patch):
    """15, 16: refuses a range that is one too long, and writes the rest of it."""

    def __init__(self, function: int) -> None:
        self._function = function

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        if answer is not None and is_exception(answer, 2) and pdu[0] == self._function:
            address, quantity = field(pdu, 1), field(pdu, 3) - 1
            if self._function == 15:
                self.server(write_coils(address, packed(bits(pdu[6:], quantity)), quantity=quantity))
            else:
                self.server(write_registers(address, pdu[6 : 6 + 2 * quantity]))
        return answer


class OrMaskUnmasked(Patch):
    """22: takes the or-mask whole."""

    def request(self, pdu: bytes) -> bytes:
        if pdu[0] != 22:
            return pdu
        now = self.server(b"\x03" + pdu[1:3] + b"\x00\x01")
        if now is None or is_exception(now):
            return pdu
        value = field(now, 2) & field(pdu, 3) | field(pdu, 5)
        return write_register(field(pdu, 1), value)

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return pdu if pdu[0] == 22 and answer is not None and not is_exception(answer) else answer


def zero_mask_keeps(pdu: bytes) -> bytes:
    return mask_write(field(pdu, 1), 0xFFFF, 0) if field(pdu, 3) == 0 else pdu


class ReadsFirst(Patch):
    """23: gives what stood there before the write."""

    def request(self, pdu: bytes) -> bytes:
        self._before = self.server(b"\x03" + pdu[1:5]) if pdu[0] == 23 else None
        return pdu

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        if pdu[0] == 23 and answer is not None and not is_exception(answer) and self._before is not None:
            return b"\x17" + self._before[1:]
        return answer


def byte_count_of_function_23_corrected(pdu: bytes) -> bytes:
    quantity, data = field(pdu, 7), pdu[10:]
    if not 1 <= quantity <= 121 or len(data) == 2 * quantity:
        return pdu
    values = registers(data.ljust(2 * quantity, b"\x00"))[:quantity]
    return read_write((field(pdu, 1), field(pdu, 3)), field(pdu, 5), values)


class WritesThenRefuses(Patch):
    """23: the read range does not exist, and the write was done before that was seen."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        if pdu[0] == 23 and answer is not None and is_exception(answer, 2):
            self.server(write_registers(field(pdu, 5), words(registers(pdu[10:]))))
        return answer


def at_most_120(pdu: bytes, answer: bytes) -> bytes:
    return exception(pdu, 3) if field(pdu, 7) > 120 else answer


SABOTEURS: dict[str, Saboteur] = {
    **_bits(1),
    **_bits(2),
    "FC03-01": patched(lambda: FewerRegisters(3), "PDU-04"),
    "FC03-02": patched(lambda: NothingIsAnAnswer(3)),
    "FC03-03": patched(lambda: Overflow(3)),
    "FC03-04": patched(lambda: Invents(3)),
    "FC03-05": one("tear", True),
    "FC04-01": patched(lambda: FewerRegisters(4)),
    "FC04-02": patched(lambda: NothingIsAnAnswer(4)),
    "FC04-03": patched(lambda: Overflow(4)),
    "FC04-04": patched(lambda: Invents(4)),
    "FC05-01": patched(CoilStaysOn),
    "FC05-02": patched(AnyValueIsOn),
    "FC05-03": patched(CoilAddressFirst),
    "FC05-04": answering(5, echoed_if_missing),
    "FC06-01": masquerading(6, fifteen_bits, 5),
    "FC06-03": answering(6, lambda pdu, answer: pdu if is_exception(answer, 3) else answer),
    "FC06-02": answering(6, echoed_if_missing),
    "FC15-01": masquerading(15, ninth_coil_is_lost, 5),
    "FC15-02": masquerading(15, cut_to_1968, 5),
    "FC15-03": masquerading(15, byte_count_of_coils_corrected, 5),
    "FC15-04": masquerading(15, rounded_up, 5),
    "FC15-05": patched(lambda: WritesWhatIsThere(15)),
    "FC16-01": masquerading(16, last_register_is_lost, 5),
    "FC16-02": masquerading(16, cut_to_123, 5),
    "FC16-03": masquerading(16, byte_count_of_registers_corrected, 5),
    "FC16-04": masquerading(16, product_wraps, 5),
    "FC16-05": masquerading(16, filled_up, 5),
    "FC16-06": patched(lambda: WritesWhatIsThere(16)),
    "FC22-01": patched(OrMaskUnmasked),
    "FC22-02": masquerading(22, zero_mask_keeps, 7),
    "FC22-03": answering(22, echoed_if_missing),
    "FC23-01": patched(ReadsFirst, "FC23-04"),  # which looks at what the read gives, too
    "FC23-02": masquerading(23, byte_count_of_function_23_corrected),
    "FC23-03": patched(WritesThenRefuses),
    "FC23-04": answering(23, at_most_120),
}
