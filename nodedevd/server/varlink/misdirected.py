"""Recognises a client of libvirt that is connected to a socket for Varlink."""

from __future__ import annotations


def refuse_libvirt(data: bytes) -> bytes | None:
    """Return libvirt's error reply to a call of its remote protocol, None for any other data."""
    # A daemon that libvirt's clients leave alone does not load their protocol.
    from nodedevd.server.libvirt import protocol as remote

    decoder = remote.PacketDecoder()
    decoder.feed(data)
    try:
        packet = decoder.next()
    except remote.BadLength:
        return None
    if packet is None or packet.header.program != remote.REMOTE:
        return None
    error = remote.RpcError(
        remote.ErrorCode.OPERATION_UNSUPPORTED,
        remote.ErrorDomain.RPC,
        "this is nodedevd's socket for Varlink; give virsh the path of nodedevd --libvirt-socket",
    )
    return remote.encode_error(packet.header, error)
