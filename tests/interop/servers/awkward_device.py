"""A device on a serial line that is right, and as awkward as adapters and devices are.

    awkward_device.py rtu|ascii [WORD=VALUE]..

Unit 1 with 200 holding registers and the functions 03, 06 and 16, on the far end of a new pty, by nothing but the
standard library. Prints the path of the near end, ends when stdin closes. The words, 0 if not said, times in seconds:

- delay: before every answer
- lump: so many bytes of an answer come first, the others in lumps of 16 ms, as USB adapters deliver them
- deaf: for so long nothing is heard after a frame that was wrong or for another unit
- echo: what comes is sent back, as two-wire adapters do
"""

import os
import pty
import re
import select
import struct
import sys
import time
import tty

UNIT = 1
SILENCE = 0.03
"""What ends a frame (seconds): a pty is no line, and this machine may be busy."""
LUMP = 30
"""How many bytes an adapter gathers in 16 ms at 19200 baud."""
PATIENCE = 1.0
"""How far apart characters of an ASCII frame may be (seconds)."""

transport = sys.argv[1]
words = {"delay": 0.0, "lump": 0.0, "deaf": 0.0, "echo": 0.0}
words |= {name: float(value) for name, _, value in (word.partition("=") for word in sys.argv[2:])}
registers = [address * 257 % 65536 for address in range(200)]


def crc(data):
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return struct.pack("<H", value)


def lrc(data):
    return bytes([-sum(data) & 0xFF])


def answer(pdu):
    function, data = pdu[0], pdu[1:]
    checks = {3: read, 6: write_one, 16: write_many}
    if function not in checks:
        return bytes([function | 0x80, 1])
    said = checks[function](data)
    return bytes([function | 0x80, said]) if isinstance(said, int) else bytes([function]) + said


def read(data):
    if len(data) != 4:
        return 3
    first, count = struct.unpack(">HH", data)
    if not 1 <= count <= 125:
        return 3
    if first + count > len(registers):
        return 2
    return struct.pack(f">B{count}H", 2 * count, *registers[first : first + count])


def write_one(data):
    if len(data) != 4:
        return 3
    address, value = struct.unpack(">HH", data)
    if address >= len(registers):
        return 2
    registers[address] = value
    return data


def write_many(data):
    if len(data) < 5:
        return 3
    first, count, size = struct.unpack(">HHB", data[:5])
    if not 1 <= count <= 123 or size != 2 * count or len(data) != 5 + size:
        return 3
    if first + count > len(registers):
        return 2
    registers[first : first + count] = struct.unpack(f">{count}H", data[5:])
    return data[:4]


def body_of(frame):
    """Unit id and PDU of a frame that is right, or nothing."""
    if transport == "rtu":
        return frame[:-2] if 4 <= len(frame) <= 256 and crc(frame[:-2]) == frame[-2:] else None
    digits = re.fullmatch(rb":((?:[0-9A-F]{2}){3,255})\r\n", frame)
    octets = bytes.fromhex(digits[1].decode()) if digits else b""
    return octets[:-1] if octets and lrc(octets[:-1]) == octets[-1:] else None


def framed(body):
    return body + crc(body) if transport == "rtu" else b":" + (body + lrc(body)).hex().upper().encode() + b"\r\n"


def send(line, frame):
    time.sleep(words["delay"])
    first = int(words["lump"]) or len(frame)
    os.write(line, frame[:first])
    for begin in range(first, len(frame), LUMP):
        time.sleep(0.016)
        os.write(line, frame[begin : begin + LUMP])


def heard(line, frame):
    """Does what one frame says."""
    body = body_of(frame)
    if body is None or body[0] not in (0, UNIT):
        time.sleep(words["deaf"])
        if words["deaf"]:
            while select.select([line], [], [], 0)[0]:
                os.read(line, 4096)
        return
    said = answer(body[1:])
    if body[0] == UNIT:
        send(line, framed(bytes([UNIT]) + said))


def frames(line):
    """What stands between two silences; in ASCII, what stands between a colon and CR LF."""
    held = b""
    while True:
        patience = None if not held else SILENCE if transport == "rtu" else PATIENCE
        ready, _, _ = select.select([line, sys.stdin], [], [], patience)
        if sys.stdin in ready:
            return
        if not ready:
            whole, held = held, b""
            yield whole
            continue
        fresh = os.read(line, 4096)
        if words["echo"]:
            os.write(line, fresh)
        held += fresh
        if transport == "ascii":
            *whole, held = re.split(rb"(?<=\r\n)", held)
            yield from (frame[max(frame.rfind(b":"), 0) :] for frame in whole)


line, near = pty.openpty()
tty.setraw(near)
print(os.ttyname(near), flush=True)
for frame in frames(line):
    heard(line, frame)
