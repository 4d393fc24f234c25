"""Recognises a client of libvirt that is connected to a socket for Varlink."""

from __future__ import annotations

from typing import Final

from nodedevd.server.libvirt.protocol import (
    REMOTE,
    BadLength,
    ErrorCode,
    ErrorDomain,
    PacketDecoder,
    RpcError,
    encode_error,
)

_ERROR: Final = RpcError(
    ErrorCode.OPERATION_UNSUPPORTED,
    ErrorDomain.RPC,
    "this is nodedevd's socket for Varlink; give virsh the path of nodedevd --libvirt-socket",
)


def refuse_libvirt(data: bytes) -> bytes | None:
    """Return libvirt's error reply to a call of its remote protocol, None for any other data."""
    decoder = PacketDecoder()
    decoder.feed(data)
    try:
        packet = decoder.next()
    except BadLength:
        return None
    if packet is None or packet.header.program != REMOTE:
        return None
    return encode_error(packet.header, _ERROR)
