"""A modbus_tk RTU server: `modbus_tk_server.py PATH`. Unit 1, 300 registers and 2400 coils from address 0.

Prints "ready", ends when stdin closes.
"""

import logging
import sys

import serial
from modbus_tk import defines
from modbus_tk.modbus_rtu import RtuServer

SIZE = 300
REGISTERS = [address * 257 % 65536 for address in range(SIZE)]
BITS = [int(address % 3 == 0) for address in range(SIZE * 8)]

logging.getLogger("modbus_tk").setLevel(logging.CRITICAL)
server = RtuServer(serial.Serial(sys.argv[1], 19200))
slave = server.add_slave(1)
for name, table, values in (
    ("holding", defines.HOLDING_REGISTERS, REGISTERS),
    ("input", defines.ANALOG_INPUTS, REGISTERS),
    ("coils", defines.COILS, BITS),
    ("discrete", defines.DISCRETE_INPUTS, BITS),
):
    slave.add_block(name, table, 0, len(values))
    slave.set_values(name, 0, list(values))
server.start()
print("ready", flush=True)
sys.stdin.read()
server.stop()
