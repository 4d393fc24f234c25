"""Packets of libvirt's remote protocol, and their arguments in XDR."""

from __future__ import annotations

from typing import Any

from nodedevd.server.libvirt import protocol as remote
from nodedevd.server.libvirt import xdr
from nodedevd.server.libvirt.protocol import BadLength, Packet, PacketDecoder, Procedure
from tests.fuzz.target import Cutter, Target

LIMIT = 128
PROCEDURES: tuple[Procedure[Any, Any], ...] = tuple(
    one for one in vars(remote).values() if isinstance(one, Procedure)
)


def check(data: bytes) -> None:
    """Packets do not depend on where the bytes were cut, and arguments are encoded as decoded."""
    cutter = Cutter(data)
    number, size = cutter.byte(), cutter.byte()
    procedure = PROCEDURES[number % len(PROCEDURES)]
    stream = cutter.rest()
    whole = _packets([stream])
    assert _packets(list(Cutter(stream).pieces(size))) == whole
    for packet in whole:
        if isinstance(packet, Packet) and packet.payload is not None:
            assert remote.encode_packet(packet.header, packet.payload) in stream
    _check_xdr(procedure.arguments, stream)
    _check_xdr(procedure.result, stream)


def _packets(pieces: list[bytes]) -> list[Packet | str]:
    decoder = PacketDecoder(LIMIT)
    found: list[Packet | str] = []
    for piece in pieces:
        decoder.feed(piece)
        try:
            while (packet := decoder.next()) is not None:
                found.append(packet)
        except BadLength as error:
            assert len(str(error)) < 80
            return [*found, str(error)]
        assert decoder.buffered <= LIMIT
    return found


def _check_xdr(kind: xdr.Type[Any], data: bytes) -> None:
    try:
        value = xdr.decode(kind, data)
    except xdr.XdrError as error:
        assert len(str(error)) < 80
        return
    written = xdr.encode(kind, value)
    assert len(written) <= len(data)
    # By bytes, since NaN is not equal to itself.
    assert xdr.encode(kind, xdr.decode(kind, written)) == written


TARGET = Target(
    "libvirt-codec",
    check,
    reads=("nodedevd/server/libvirt/protocol.py", "nodedevd/server/libvirt/xdr.py"),
    words=(
        b"\0\0\0\x1c\x20\0\x80\x86\0\0\0\x01\0\0\0\x42\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\0\0\x02\x01",
        b"\x02\0\0\x04",
        b"\0\0\0\x01",
        b"\0\0\0\x07",
        b"\0\0\0\x04name",
        b"\0\x01\0\0",
        b"\0\x40\0\0",
        b"\x7f\xf8\0\0\0\0\0\0",
        b"{",
    ),
    most_bytes=1024,
    share=1.0,
)
