"""ethtool: the features that the kernel reports as active, by name."""

from __future__ import annotations

import socket
import struct

import pytest

from nodedevd.host import ethtool

NAMES = [f"feature-{number}" for number in range(40)]
STRINGS = b"".join(struct.pack("32s", name.encode()) for name in NAMES)


def bits(*active: int) -> bytes:
    """Return two blocks in which everything is available and requested, and this is active."""
    blocks = [0, 0]
    for number in active:
        blocks[number // 32] |= 1 << number % 32
    return b"".join(struct.pack("=4I", 2**32 - 1, 2**32 - 1, block, 0) for block in blocks)


@pytest.mark.parametrize("active", [(), (0,), (31, 32), (0, 5, 39)])
def test_names_are_those_of_the_active_bits(active: tuple[int, ...]) -> None:
    """Also in the second block; interfaces with the same names can differ in what is active."""
    expected = {NAMES[number] for number in active}
    assert ethtool._named(STRINGS, bits(*active)) == expected


def test_loopback_has_the_features_of_every_kernel() -> None:
    """Of this kernel itself."""
    active = ethtool.active_features("lo", socket.if_nametoindex("lo"))
    assert {"loopback", "tx-scatter-gather"} <= active
    assert "rx-all" not in active


def test_interface_of_another_index_is_missing() -> None:
    """/sys may be of another network namespace."""
    with pytest.raises(OSError, match="lo"):
        ethtool.active_features("lo", socket.if_nametoindex("lo") + 1000)
