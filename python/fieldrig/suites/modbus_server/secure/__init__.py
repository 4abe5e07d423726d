"""Stimuli for Modbus/TCP Security: certificates of every kind, handshakes that offer what they like, raw hellos.

Nothing of this is fieldrig's own TLS: certificates are made by the `openssl` program, handshakes are those of the
standard library (OpenSSL), and what no library offers is put together by hand.
"""
