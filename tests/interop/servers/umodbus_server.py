"""A uModbus RTU server: `umodbus_server.py PATH`. Unit 1, 300 registers and 2400 coils from address 0.

Prints "ready", ends when stdin closes.
"""

import logging
import sys
import threading

import serial
from umodbus.server.serial import get_server
from umodbus.server.serial.rtu import RTUServer

SIZE = 300
POLL = 0.05
registers = [address * 257 % 65536 for address in range(SIZE)]
bits = [int(address % 3 == 0) for address in range(SIZE * 8)]

logging.getLogger("uModbus").setLevel(logging.CRITICAL)
server = get_server(RTUServer, serial.Serial(sys.argv[1], 19200))


@server.route(slave_ids=[1], function_codes=[3, 4], addresses=range(SIZE))
def read_register(slave_id, function_code, address):
    return registers[address]


@server.route(slave_ids=[1], function_codes=[6, 16], addresses=range(SIZE))
def write_register(slave_id, function_code, address, value):
    registers[address] = value


@server.route(slave_ids=[1], function_codes=[1, 2], addresses=range(SIZE * 8))
def read_bit(slave_id, function_code, address):
    return bits[address]


@server.route(slave_ids=[1], function_codes=[5, 15], addresses=range(SIZE * 8))
def write_coil(slave_id, function_code, address, value):
    bits[address] = value


threading.Thread(target=server.serve_forever, args=(POLL,), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
