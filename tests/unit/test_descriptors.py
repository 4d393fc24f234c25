"""descriptors: the limit on open files, and what is left of it for clients."""

from __future__ import annotations

import resource

import pytest

from nodedevd.descriptors import (
    CLIENTS_AT_MOST,
    HANGING_AT_MOST,
    LIMIT_AT_MOST,
    LOOKS,
    RESERVED,
    WRITES,
    raise_limit,
    share_out,
)

INFINITY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1024, 524_288), (LIMIT_AT_MOST, 524_288)),
        ((1024, 4096), (4096, 4096)),
        ((64, 64), None),
        ((1024, INFINITY), (LIMIT_AT_MOST, INFINITY)),
        ((100_000, 200_000), None),
        ((INFINITY, INFINITY), None),
    ],
)
def test_soft_limit_is_raised_to_the_hard_limit_within_reason(
    monkeypatch: pytest.MonkeyPatch, before: tuple[int, int], after: tuple[int, int] | None
) -> None:
    """A higher soft limit is kept, and so is the hard limit."""
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: before)
    monkeypatch.setattr(resource, "setrlimit", lambda which, new: calls.append(new))
    limit = raise_limit()
    assert calls == ([] if after is None else [after])
    assert limit == (before if after is None else after)[0] or before[0] == INFINITY


@pytest.mark.parametrize("limit", [64, 128, 256, 1024, 4096, 8192, LIMIT_AT_MOST])
def test_clients_get_what_is_held_back_for_nothing_else(limit: int) -> None:
    """All parts fit below the limit; a tiny one leaves a few clients."""
    shares = share_out(limit, already_open=12)
    looks = LOOKS * shares.hanging_of_look
    assert 12 + RESERVED + shares.hanging + looks + shares.clients <= limit
    assert 1 <= shares.clients <= CLIENTS_AT_MOST
    assert 1 <= shares.hanging <= HANGING_AT_MOST


def test_limit_of_the_unit_is_enough_for_all() -> None:
    """LimitNOFILE= in the unit."""
    assert share_out(8192).clients == CLIENTS_AT_MOST


def test_changes_of_clients_have_descriptors_of_their_own() -> None:
    """Those of the connections to the control service; the unit's limit is enough for both."""
    plain, writing = share_out(1024, already_open=12), share_out(1024, already_open=12, writes=True)
    assert plain.clients - writing.clients == WRITES
    assert share_out(4096, writes=True).clients == CLIENTS_AT_MOST


def test_no_client_is_left_below_a_limit_that_is_too_small() -> None:
    """The daemon does not start then."""
    assert share_out(40, already_open=8).clients < 1
