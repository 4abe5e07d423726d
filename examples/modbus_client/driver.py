"""A driver for a small Modbus/TCP client, as one would write it in an afternoon.

`fieldrig conform modbus-client --driver "python examples/modbus_client/driver.py {url}"` finds what it forgets.
"""

import json
import socket
import struct
import sys
from urllib.parse import urlsplit


class SmallClient:
    """Reads holding registers."""

    def __init__(self, host, port, timeout):
        self.socket = socket.create_connection((host, port), timeout)
        self.transaction = 0

    def read_holding(self, address, count, unit):
        if not 1 <= count <= 125 or address + count > 65536:
            raise ValueError(f"{count} registers from {address}")
        self.transaction = (self.transaction + 1) % 65536
        self.socket.sendall(struct.pack(">HHHBBHH", self.transaction, 0, 6, unit, 3, address, count))
        length = struct.unpack(">HHH", self.receive(6))[2]
        pdu = self.receive(length)[1:]
        if pdu[0] & 0x80:
            raise ModbusException(pdu[1])
        return struct.unpack(f">{count}H", pdu[2 : 2 + 2 * count])

    def receive(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise ConnectionResetError("the server closed the connection")
            data += more
        return data


class ModbusException(Exception):
    """The device answered with an exception."""


def outcome(client, request):
    """What the client makes of one call."""
    call = request.pop("call")
    try:
        if call == "read_holding":
            return {"values": list(client.read_holding(**request))}
        return {"error": "unsupported", "text": call}
    except ModbusException as exception:
        return {"error": "exception", "code": exception.args[0]}
    except TimeoutError as error:
        return {"error": "timeout", "text": str(error)}
    except OSError as error:
        return {"error": "lost", "text": str(error)}
    except (struct.error, IndexError) as error:
        return {"error": "malformed", "text": str(error)}
    except ValueError as error:
        return {"error": "refused", "text": str(error)}


def main(url):
    """One request a line, one outcome a line."""
    address = urlsplit(url)
    client = None
    for line in sys.stdin:
        request = json.loads(line)
        if request["call"] == "open":
            unknown = {"first_transaction", "echo"} & request.keys()
            if unknown:
                said = {"error": "unsupported", "text": ", ".join(sorted(unknown))}
            else:
                client = SmallClient(address.hostname, address.port, request["timeout"])
                said = {"ok": True, "name": "a small client"}
        elif request["call"] == "close":
            client.socket.close()
            said = {"ok": True}
        else:
            said = outcome(client, request)
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
