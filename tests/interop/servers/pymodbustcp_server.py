"""A pyModbusTCP server: 300 registers and coils from address 0. Prints its port, ends when stdin closes."""

import socket
import sys

from pyModbusTCP.server import DataBank, DeviceIdentification, ModbusServer

SIZE = 300

with socket.socket() as probe:  # the server cannot be asked which port it was given
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]

bank = DataBank(coils_size=8 * SIZE, d_inputs_size=8 * SIZE, h_regs_size=SIZE, i_regs_size=SIZE)
bank.set_holding_registers(0, [address * 257 % 65536 for address in range(SIZE)])
bank.set_coils(0, [address % 3 == 0 for address in range(8 * SIZE)])
bank.set_discrete_inputs(0, [address % 3 == 0 for address in range(8 * SIZE)])
identity = DeviceIdentification(b"pyModbusTCP", b"server", b"1.0", product_name=b"interop")
server = ModbusServer(host="127.0.0.1", port=port, no_block=True, data_bank=bank, device_id=identity)
server.start()
print(port, flush=True)
sys.stdin.read()
server.stop()
