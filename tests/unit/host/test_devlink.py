"""devlink is asked over generic netlink, as devlink-dev(8) does."""

from __future__ import annotations

import errno
import os
import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.host import devlink, netlink

FAMILY = 0x1D
CARD = "0000:08:00.0"


class Door:
    """A socket to a kernel that has a card in one mode."""

    def __init__(self, mode: int | None, *, error: int = 0, family: int = FAMILY) -> None:
        self.mode = mode
        self.error = error
        self.family = family
        self.asked: list[tuple[int, int, dict[int, bytes]]] = []

    def __call__(self, *_: object) -> Door:  # noqa: D102 - as socket.socket
        return self

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def sendto(self, packet: bytes, _: object) -> None:
        """Take a question."""
        ((kind, content),) = netlink.messages(packet)
        self.asked.append((kind, content[0], dict(netlink.attributes(content[4:]))))

    def recv(self, _: int) -> bytes:
        """Answer the last one."""
        kind, command, _attributes = self.asked[-1]
        if kind == 0x10:
            if not self.family:
                return netlink.message(netlink.ERROR, struct.pack("=i", -errno.ENOENT))
            value = netlink.attribute(1, struct.pack("=H", self.family))
            return netlink.message(kind, bytes([1, 2, 0, 0]) + value)
        if self.error:
            return netlink.message(netlink.ERROR, struct.pack("=i", -self.error))
        value = b"" if self.mode is None else netlink.attribute(25, struct.pack("=H", self.mode))
        return netlink.message(kind, bytes([command, 1, 0, 0]) + netlink.attribute(3, b"x") + value)


@pytest.mark.parametrize(("mode", "expected"), [(1, True), (0, False), (2, False), (None, False)])
def test_mode_is_told(monkeypatch: pytest.MonkeyPatch, mode: int | None, expected: bool) -> None:
    """The family is looked up by name, the card by bus and name; switchdev is mode 1."""
    door = Door(mode)
    monkeypatch.setattr("nodedevd.host.devlink.socket.socket", door)
    assert devlink.is_switchdev("pci", CARD) is expected
    assert door.asked == [
        (0x10, 3, {2: b"devlink\0"}),
        (FAMILY, 29, {1: b"pci\0", 2: CARD.encode() + b"\0"}),
    ]


@pytest.mark.parametrize("number", [errno.ENODEV, errno.EOPNOTSUPP, errno.EPERM])
def test_error_of_the_kernel_is_raised(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A card without a switch, and a missing card, are an errno."""
    monkeypatch.setattr("nodedevd.host.devlink.socket.socket", Door(1, error=number))
    with pytest.raises(OSError, match=re.escape(os.strerror(number))):
        devlink.is_switchdev("pci", CARD)


def test_kernel_without_devlink_is_enoent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The family is not found, and no other request is sent."""
    door = Door(1, family=0)
    monkeypatch.setattr("nodedevd.host.devlink.socket.socket", door)
    with pytest.raises(FileNotFoundError):
        devlink.is_switchdev("pci", CARD)
    assert len(door.asked) == 1


@given(st.binary(max_size=64))
def test_any_bytes_end(data: bytes) -> None:
    """Messages that are cut off or malformed are left out: nothing raises, and nothing loops."""
    for _, content in netlink.messages(data):
        list(netlink.attributes(content))
    assert all(len(value) <= len(data) for _, value in netlink.attributes(data))


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=9)), max_size=5))
def test_attributes_read_as_written(values: list[tuple[int, bytes]]) -> None:
    """Padding is not part of an attribute."""
    content = b"".join(netlink.attribute(kind, value) for kind, value in values)
    assert list(netlink.attributes(content)) == values
    assert list(netlink.messages(netlink.message(7, content) * 2)) == [(7, content)] * 2
