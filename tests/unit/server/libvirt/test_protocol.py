"""libvirt's remote protocol: its bytes, cutting a stream into packets, and limits."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.server.libvirt import protocol as remote
from nodedevd.server.libvirt import xdr
from nodedevd.server.libvirt.protocol import (
    BadLength,
    ErrorCode,
    ErrorDomain,
    Header,
    Packet,
    PacketDecoder,
    Procedure,
    RpcError,
    encode_error,
    encode_event,
    encode_keepalive,
    encode_packet,
    encode_reply,
)

LIMIT = 256
CALL = Header(remote.REMOTE, 1, 66, 0, 7, 0)
PROCEDURES = [one for one in vars(remote).values() if isinstance(one, Procedure)]

headers = st.builds(
    Header,
    *[st.integers(0, 2**32 - 1)] * 2,
    *[st.integers(-(2**31), 2**31 - 1)] * 2,
    st.integers(0, 2**32 - 1),
    st.integers(-(2**31), 2**31 - 1),
)


def hexadecimal(words: str) -> bytes:
    """Return bytes that are written in hexadecimal, with blanks."""
    return bytes.fromhex(words)


def packets(decoder: PacketDecoder, data: bytes) -> list[Packet]:
    """Feed data and return the packets in it."""
    decoder.feed(data)
    found = []
    while (packet := decoder.next()) is not None:
        found.append(packet)
    return found


def test_call_of_a_real_client_is_decoded() -> None:
    """Bytes that virsh sends to open a connection."""
    data = hexadecimal(
        "0000003c 20008086 00000001 00000001 00000000 00000002 00000000"
        "00000001 00000011 6e6f6465 6465763a 2f2f2f73 79737465 6d000000 00000000"
    )
    [packet] = packets(PacketDecoder(), data)
    assert packet.header == Header(remote.REMOTE, 1, 1, 0, 2, 0)
    assert packet.payload is not None
    opened = xdr.decode(remote.OPEN.arguments, packet.payload)
    assert opened == remote.Open("nodedev:///system", 0)


@pytest.mark.parametrize(
    ("packet", "data"),
    [
        (
            encode_reply(CALL, xdr.encode(remote.AUTH_LIST.result, ())),
            "00000020 20008086 00000001 00000042 00000001 00000007 00000000 00000000",
        ),
        (
            encode_keepalive(remote.PONG),
            "0000001c 6b656570 00000001 00000002 00000002 00000000 00000000",
        ),
        (
            encode_event(remote.EVENT_LIFECYCLE, remote.LifecycleMessage(3, "ab", 1, 0)),
            (
                "00000030 20008086 00000001 00000178 00000002 00000000 00000000"
                "00000003 00000002 61620000 00000001 00000000"
            ),
        ),
        (
            encode_event(remote.EVENT_UPDATE, remote.UpdateMessage(4, "abcd")),
            (
                "00000028 20008086 00000001 00000179 00000002 00000000 00000000"
                "00000004 00000004 61626364"
            ),
        ),
        (
            encode_error(CALL, RpcError(ErrorCode.RPC, ErrorDomain.NODEDEV, "no")),
            (
                "00000050 20008086 00000001 00000042 00000001 00000007 00000001"
                "00000027 00000016 00000001 00000002 6e6f0000 00000002 00000000"
                "00000000 00000000 00000000 ffffffff ffffffff 00000000"
            ),
        ),
    ],
)
def test_what_is_sent_has_the_bytes_of_the_protocol(packet: bytes, data: str) -> None:
    """Replies, events, pings and errors, word by word."""
    assert packet == hexadecimal(data)


def test_procedures_have_numbers_and_names_of_their_own() -> None:
    """No number is twice in the tables of supported and refused procedures."""
    numbers = [one.number for one in PROCEDURES] + list(remote.REFUSED)
    names = [one.name for one in PROCEDURES] + [one[0] for one in remote.REFUSED.values()]
    assert len(set(numbers)) == len(numbers)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("size", [1, 3, 7, 28, 29, 1000])
def test_stream_in_pieces_gives_the_same_packets(size: int) -> None:
    """The pieces may end anywhere."""
    payloads = [b"", b"abcd", bytes(LIMIT - 28), bytes(LIMIT - 27), bytes(4096), b"last"]
    data = b"".join(encode_packet(CALL, payload) for payload in payloads)
    decoder = PacketDecoder(LIMIT)
    found = []
    for start in range(0, len(data), size):
        found += packets(decoder, data[start : start + size])
        assert decoder.buffered <= LIMIT + size
    kept = [payload if len(payload) + 28 <= LIMIT else None for payload in payloads]
    assert found == [Packet(CALL, payload) for payload in kept]
    assert decoder.buffered == 0


def test_json_is_recognised_in_place_of_a_length() -> None:
    """The log names the mistake: the client was given the wrong socket."""
    decoder = PacketDecoder()
    decoder.feed(b'{"method":"org.varlink.service.GetInfo"}\0')
    with pytest.raises(BadLength, match="a JSON object; clients of Varlink have a socket of"):
        decoder.next()


@pytest.mark.parametrize("length", [0, 3, 27, remote.PACKET_MAX_BYTES + 1, 2**32 - 1])
def test_impossible_length_ends_the_stream(length: int) -> None:
    """The start of the next packet is unknown; the packet before is returned."""
    decoder = PacketDecoder()
    decoder.feed(encode_packet(CALL) + length.to_bytes(4, "big"))
    assert decoder.next() == Packet(CALL, b"")
    with pytest.raises(BadLength, match=f"a packet of {length} bytes"):
        decoder.next()


def test_largest_packet_is_dropped_as_it_comes() -> None:
    """32 MiB are not kept, their header is returned, and the next packet is decoded."""
    decoder = PacketDecoder()
    chunk = bytes(64 << 10)
    payload_size = remote.PACKET_MAX_BYTES - 28
    head = encode_packet(CALL, b"")[4:]
    tracemalloc.start()
    try:
        found = packets(decoder, remote.PACKET_MAX_BYTES.to_bytes(4, "big") + head)
        for start in range(0, payload_size, len(chunk)):
            found += packets(decoder, chunk[: payload_size - start])
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert found == [Packet(CALL, None)]
    assert packets(decoder, encode_packet(CALL, b"next")) == [Packet(CALL, b"next")]


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_random_bytes_are_packets_or_the_end(pieces: list[bytes]) -> None:
    """Only BadLength is raised, and the buffer stays bounded."""
    decoder = PacketDecoder(LIMIT)
    for piece in pieces:
        try:
            packets(decoder, piece)
        except BadLength:
            return
        assert decoder.buffered <= LIMIT + len(piece)


@given(st.lists(st.tuples(headers, st.binary(max_size=2 * LIMIT)), max_size=5), st.data())
def test_packets_of_any_header_are_cut_out(
    sent: list[tuple[Header, bytes]], data: st.DataObject
) -> None:
    """For any words after the length, and any cut of the stream."""
    stream = b"".join(encode_packet(header, payload) for header, payload in sent)
    cut = data.draw(st.integers(0, len(stream)))
    decoder = PacketDecoder(LIMIT)
    found = packets(decoder, stream[:cut]) + packets(decoder, stream[cut:])
    assert found == [
        Packet(header, payload if len(payload) + 28 <= LIMIT else None) for header, payload in sent
    ]


@given(st.sampled_from(PROCEDURES), st.binary(max_size=200))
def test_random_arguments_are_values_or_an_error(
    procedure: Procedure[object, object], payload: bytes
) -> None:
    """For any arguments of a client, only XdrError is raised."""
    try:
        arguments = xdr.decode(procedure.arguments, payload)
    except xdr.XdrError:
        return
    again = xdr.encode(procedure.arguments, arguments)
    assert xdr.encode(procedure.arguments, xdr.decode(procedure.arguments, again)) == again
