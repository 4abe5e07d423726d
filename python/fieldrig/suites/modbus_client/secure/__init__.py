"""Modbus/TCP Security as a client meets it: certificates made for the run, a server inside TLS, hellos taken apart.

Handshakes are those of the standard library. Certificates are made here, without any program or package: the suite runs
wherever Python does. Nothing of this is fieldrig's own TLS, which is one of the clients that are judged.
"""
