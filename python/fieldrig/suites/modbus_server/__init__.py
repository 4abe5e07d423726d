"""Conformance of Modbus/TCP servers: `fieldrig conform modbus-server tcp://HOST:PORT --unit N`."""
