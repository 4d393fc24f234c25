"""ReplyCache: stale replies are not returned, and its memory is bounded."""

from __future__ import annotations

import time

import pytest

from nodedevd.server.reply_cache import ENTRY_BYTES, ReplyCache, Shared, SharedJson


def test_kept_reply_is_given_up_with_the_state() -> None:
    """A state is compared by identity: an equal one is another one."""
    state = [[1]]
    kept = ReplyCache(lambda: state[0])
    assert kept.get(b"call") is None
    kept.keep(b"call", b"reply")
    assert kept.get(b"call") == b"reply"
    state[0] = [1]
    assert kept.get(b"call") is None


def test_reply_made_of_another_state_is_not_kept() -> None:
    """The state may change between `get` and `keep`."""
    state = [[1]]
    kept = ReplyCache(lambda: state[0])
    assert kept.get(b"call") is None
    state[0] = [2]
    kept.keep(b"call", b"reply")
    assert kept.get(b"call") is None


def test_reply_is_kept_until_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is stale, and a new one may be kept."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    kept = ReplyCache(lambda: None)
    kept.keep(b"call", b"old", until=100.0)
    assert kept.get(b"call") is None
    kept.keep(b"call", b"old", until=101.0)
    now[0] = 100.5
    assert kept.get(b"call") == b"old"
    now[0] = 101.0
    assert kept.get(b"call") is None
    kept.keep(b"call", b"new", until=102.0)
    assert kept.get(b"call") == b"new"


def test_kept_replies_are_bounded() -> None:
    """Over the capacity, all are dropped; a reply that replaces another one does not add to it."""
    kept = ReplyCache(lambda: None, capacity_bytes=1000 + 2 * ENTRY_BYTES)
    for _ in range(10):
        kept.keep(b"a", bytes(499))
        assert kept.get(b"a") is not None
    kept.keep(b"b", bytes(499))
    assert kept.get(b"a") is not None
    assert kept.get(b"b") is not None
    kept.keep(b"c", b"")
    assert kept.get(b"a") is None
    kept.keep(b"c", b"")
    assert kept.get(b"c") == b""


def test_line_feed_in_what_is_shared_is_escaped() -> None:
    """Bytes of another protocol stay as they are."""
    kept = ReplyCache(lambda: None)
    kept.keep(b"json", SharedJson(b'"', b"a\nb\\n", b'"'))
    kept.keep(b"xdr", Shared(b"\0\0\0\x04", b"a\nb\n", b""))
    assert kept.get(b"json") == rb'"a\nb\n"'
    assert kept.get(b"xdr") == b"\0\0\0\x04a\nb\n"


def test_what_is_kept_elsewhere_takes_no_place() -> None:
    """What is around it does, and so does each entry, however short."""
    kept = ReplyCache(lambda: None, capacity_bytes=2 * (ENTRY_BYTES + 3))
    text = bytes(10_000)
    kept.keep(b"a", Shared(b"<", text, b">"))
    assert kept.get(b"a") == b"<" + text + b">"
    kept.keep(b"b", Shared(b"<", text, b">>"))  # too long by one
    assert kept.get(b"b") is None
    for call in (b"c", b"d"):
        kept.keep(call, Shared(b"<", text, b">"))
    assert kept.get(b"a") is None
    assert kept.get(b"d") == b"<" + text + b">"
