"""Who asks: the credentials of the process that has connected."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from nodedevd.control import asker
from nodedevd.control.asker import asker_of, this_process
from tests.support.descriptors import descriptors


@pytest.fixture
def pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets, both of this process."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


def test_peer_is_this_process(pair: tuple[socket.socket, socket.socket]) -> None:
    """User, groups, name and start, as this process knows of itself."""
    with pair[0], pair[1]:
        found = asker_of(pair[0])
    assert found == this_process()
    assert (found.pid, found.uid, found.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert found.groups == frozenset(os.getgroups())
    assert found.command
    assert found.started is not None
    assert found.started > 0


def test_descriptor_of_the_process_is_closed(pair: tuple[socket.socket, socket.socket]) -> None:
    """As many clients as there may be leave none behind."""
    with pair[0], pair[1]:
        before = descriptors()
        asker_of(pair[0])
        assert descriptors() == before


def test_process_that_has_ended_has_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pid may be another process's: nothing of that is taken for the client's."""
    monkeypatch.setattr(asker, "_has_ended", lambda pidfd: True)
    first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with first, second:
        if asker._pidfd(first) is None:
            pytest.skip("this kernel gives no pidfd of a peer")
        found = asker_of(first)
    assert (found.command, found.started) == ("", None)
    assert found.uid == os.geteuid()


def test_process_that_was_waited_for_has_no_start(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """Linux gives no pidfd of it any more; EINVAL or ESRCH, by its version."""

    class Ended:
        """A socket whose client has ended."""

        def getsockopt(self, level: int, option: int, size: int) -> bytes:
            """Answer as the kernel does."""
            if option == asker._SO_PEERPIDFD:
                raise OSError(errno.EINVAL, "Invalid argument")
            return pair[0].getsockopt(level, option, size)

    with pair[0], pair[1]:
        found = asker_of(Ended())  # type: ignore[arg-type]  # only asked for its options
    assert (found.command, found.started) == ("", None)
    assert found.pid == os.getpid()


def test_many_groups_are_all_known(pair: tuple[socket.socket, socket.socket]) -> None:
    """More than Python can ask for at once."""
    with pair[0], pair[1]:
        assert asker._many_groups(pair[0]) == asker._groups(pair[0]) == frozenset(os.getgroups())


def test_name_with_parentheses_is_parsed(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may call itself anything, also what looks like the end of its name."""
    directory = os.path.join(str(tmp_path), "7")
    os.mkdir(directory)
    fields = " ".join(str(number) for number in range(4, 53))
    with open(os.path.join(directory, "stat"), "w") as file:
        file.write(f"7 (a) R 1 (b) S {fields}\n")
    monkeypatch.setattr(asker, "_PROC", str(tmp_path))
    assert asker._look_up(7, None) == ("a) R 1 (b", 22)
