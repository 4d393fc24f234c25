"""For whom the calls of a connection are made, whatever arrives on it, in any order."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.control import caller as module
from nodedevd.control.asker import Asker
from nodedevd.control.caller import SPEAK_FOR, Identity
from nodedevd.control.spoken_for import NotAccepted, spoken_for
from nodedevd.errors import NotAllowed
from tests.support.serving import listening

OWN = Asker(1, os.geteuid(), 0, frozenset(), "nodedevd", 1)
USER = Asker(4711, os.geteuid() + 1000, 1000, frozenset(), "virsh", 5)

Event: TypeAlias = Literal["one", "two", "cut", "call", "speak"]
"""One descriptor arrives; two do; one, and the kernel has closed another; a method is called;
SpeakFor is."""


def expected(events: list[Event], *, favoured: bool, good: bool) -> list[Asker | None]:
    """Return for whom each call is made, by the rules in words of docs/control.md."""
    askers: list[Asker | None] = []
    now: Asker | None = OWN if favoured else USER
    held = called = False
    for event in events:
        if event in ("one", "two", "cut"):
            if event == "one" and favoured and not called and not held:
                held = True
            else:
                held, now = False, None
            continue
        if event == "call":
            if held:
                held, now = False, None
        elif called or not favoured or not held or not good:
            held, now = False, None
        else:
            held, now = False, USER
        called = True
        askers.append(now)
    return askers


@pytest.fixture
def counted() -> Iterator[None]:
    """Check that no descriptor is left."""
    gc.collect()  # what earlier tests have left must not close meanwhile
    before = os.listdir("/proc/self/fd")
    yield
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.usefixtures("counted")
@given(
    events=st.lists(st.sampled_from(["one", "two", "cut", "call", "speak"]), max_size=6),
    favoured=st.booleans(),
    good=st.booleans(),
)
def test_no_order_of_events_gives_a_call_to_another(
    events: list[Event], favoured: bool, good: bool
) -> None:
    """Every one of them has the outcome that the rules say, and at most one file is open."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "spoken_for", _played(good=good))
        identity = Identity(OWN if favoured else USER)
        opened = len(os.listdir("/proc/self/fd"))
        askers: list[Asker | None] = []
        for event in events:
            if event in ("one", "two", "cut"):
                given_ = [os.dup(0) for _ in range(2 if event == "two" else 1)]
                identity.passed(given_, more=event == "cut")
            else:
                askers.append(_called(identity, event))
            assert len(os.listdir("/proc/self/fd")) - opened in (0, 1)
        identity.close()
        assert len(os.listdir("/proc/self/fd")) == opened
    wanted = expected(events, favoured=favoured, good=good)
    assert [one and one.pid for one in askers] == [one and one.pid for one in wanted]


def _played(*, good: bool) -> object:
    def played(descriptor: int, paths: object) -> Asker:
        os.close(descriptor)
        if not good:
            raise NotAccepted("no")
        return USER

    return played


def _called(identity: Identity, event: Event) -> Asker | None:
    """Make a call as the service does; return for whom it is made."""
    try:
        if event == "call":
            return identity.begin("Create")
        identity.begin(SPEAK_FOR)
        return identity.speak_for(())
    except NotAllowed:
        return None


def test_closed_connection_makes_no_call() -> None:
    """What was passed is closed."""
    identity = Identity(OWN)
    descriptor = os.dup(0)
    assert identity.passed([descriptor], more=False)
    identity.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    with pytest.raises(NotAllowed):
        identity.begin("Create")


def test_socket_of_any_path_of_the_configuration_will_do() -> None:
    """And the descriptor is closed, while the server's own stays open."""
    with TemporaryDirectory() as directory:
        paths = [str(Path(directory) / name) for name in ("sock", "sock-ro")]
        for path in paths:
            with listening(Path(path)) as server, socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                with server.accept()[0] as accepted:
                    descriptor = os.dup(accepted.fileno())
                    assert spoken_for(descriptor, paths).pid == os.getpid()
                    with pytest.raises(OSError, match="Bad file descriptor"):
                        os.fstat(descriptor)
                    assert accepted.getsockname() == path
