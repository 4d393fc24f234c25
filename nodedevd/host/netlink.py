"""netlink: parses and builds messages and attributes, without I/O.

Source: netlink(7), include/uapi/linux/netlink.h
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

ERROR = 2
"""NLMSG_ERROR, the type of an error or acknowledgement"""
REQUEST = 1
"""NLM_F_REQUEST"""

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_ERRNO = struct.Struct("=i")  # negative
_MAX_ERRNO = 4095  # include/linux/err.h
_TYPE = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER


def messages(packet: bytes) -> Iterator[tuple[int, bytes]]:
    """Return type and content of each message in a packet, up to one that is cut off."""
    while len(packet) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(packet)
        if length < _HEADER.size or length > len(packet):
            return
        yield kind, packet[_HEADER.size : length]
        packet = packet[_aligned(length) :]


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Return type and value of each attribute, up to one that is cut off."""
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size or length > len(data):
            return
        yield kind & _TYPE, data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]


def error_of(content: bytes) -> OSError | None:
    """Return the error in the content of an `ERROR` message; None if that is cut off."""
    if len(content) < _ERRNO.size:
        return None
    number = min(abs(_ERRNO.unpack_from(content)[0]), _MAX_ERRNO)
    return OSError(number, os.strerror(number))


def message(kind: int, content: bytes, *, flags: int = REQUEST) -> bytes:
    """Return a packet with one message."""
    return _HEADER.pack(_HEADER.size + len(content), kind, flags, 1, 0) + content


def attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute, padded to the start of the next."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(_aligned(length) - length)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
