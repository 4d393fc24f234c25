"""What a bucket takes from a server, and from whoever has stored something there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodedevd.client.fleet.bucket import headers_of


def test_status_is_what_the_server_says_and_not_what_is_stored() -> None:
    """A server says it in the first line, of a message that has nothing stored."""
    assert headers_of(b"NATS/1.0 503\r\n\r\n")["Status"] == "503"
    beat = headers_of(b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 7\r\n\r\n")
    assert (beat["Status"], beat["Nats-Last-Consumer"]) == ("100", "7")
    assert "Status" not in headers_of(b"NATS/1.0\r\nStatus: 503\r\n\r\n")
    stored = b"NATS/1.0 404\r\nNats-Sequence: 9\r\nStatus: 404\r\nNats-Sequence: 5\r\n\r\n"
    assert headers_of(stored)["Nats-Sequence"] == "5"
    assert "Status" not in headers_of(stored)


@given(st.binary(max_size=200))
def test_any_bytes_are_headers(block: bytes) -> None:
    """There is no error, which would end the connection."""
    headers = headers_of(b"NATS/1.0" + block)
    assert all(isinstance(value, str) for value in headers.values())
