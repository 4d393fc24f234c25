"""ethtool: what a network interface's driver does on the way of a packet.

Source: ethtool(8), Linux's include/uapi/linux/ethtool.h. Features are asked for by name: their
numbers are not the same in any two kernels.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct

_SIOCETHTOOL = 0x8946
_GSTRINGS = 0x1B
_GSSET_INFO = 0x37
_GFEATURES = 0x3A
_SS_FEATURES = 4
_STRING_SIZE = 32
_MOST_FEATURES = 4096  # 64 in Linux 6.12
_NAME_SIZE = 16  # IFNAMSIZ

RDMA = "rdma"
"""No feature of ethtool's: that there is an InfiniBand device beside the interface."""

SWITCHDEV = "switchdev"
"""Nor this: that the switch in the interface's card is driven as one, as devlink tells."""

# libvirt's words in its order; a word holds when any of the kernel's does.
_WORDS: dict[str, frozenset[str]] = {
    "rx": frozenset({"rx-checksum"}),
    "tx": frozenset(
        {
            "tx-checksum-ipv4",
            "tx-checksum-ip-generic",
            "tx-checksum-ipv6",
            "tx-checksum-fcoe-crc",
            "tx-checksum-sctp",
        }
    ),
    "sg": frozenset({"tx-scatter-gather", "tx-scatter-gather-fraglist"}),
    "tso": frozenset(
        {
            "tx-tcp-segmentation",
            "tx-tcp-ecn-segmentation",
            "tx-tcp-mangleid-segmentation",
            "tx-tcp6-segmentation",
            "tx-tcp-accecn-segmentation",
        }
    ),
    "gso": frozenset({"tx-generic-segmentation"}),
    "gro": frozenset({"rx-gro"}),
    "lro": frozenset({"rx-lro"}),
    "rxvlan": frozenset({"rx-vlan-hw-parse"}),
    "txvlan": frozenset({"tx-vlan-hw-insert"}),
    "ntuple": frozenset({"rx-ntuple-filter"}),
    "rxhash": frozenset({"rx-hashing"}),
    "rdma": frozenset({RDMA}),
    "txudptnl": frozenset({"tx-udp_tnl-segmentation"}),
    "switchdev": frozenset({SWITCHDEV}),
}


def words(active: frozenset[str]) -> tuple[str, ...]:
    """Return libvirt's words for the kernel's features that are active, in libvirt's order."""
    return tuple([word for word, names in _WORDS.items() if not names.isdisjoint(active)])


def active_features(interface: str, index: int) -> frozenset[str]:
    """Return the kernel's names of an interface's active features.

    The interface is that of this name and index in the process's network namespace. Blocking.
    Raises OSError: ENODEV if there is none, EOPNOTSUPP for one that has no features to tell.
    """
    if socket.if_nametoindex(interface) != index:  # /sys may show another namespace
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), interface)
    # Any socket will do; those of the Internet are forbidden by the unit.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
        count = _count(door, interface)
        names = _ask(
            door,
            interface,
            struct.pack("=III", _GSTRINGS, _SS_FEATURES, count) + bytes(count * _STRING_SIZE),
        )[12:]
        blocks = (count + 31) // 32
        bits = _ask(door, interface, struct.pack("=II", _GFEATURES, blocks) + bytes(blocks * 16))[
            8:
        ]
    return frozenset(
        name.split(b"\0", 1)[0].decode("ascii", "backslashreplace")
        for number, name in enumerate(
            names[at : at + _STRING_SIZE] for at in range(0, len(names), _STRING_SIZE)
        )
        if _active(bits, number)
    )


def _count(door: socket.socket, interface: str) -> int:
    question = struct.pack("=IIQI", _GSSET_INFO, 0, 1 << _SS_FEATURES, 0)
    mask, count = struct.unpack("=8xQI", _ask(door, interface, question))
    return min(int(count), _MOST_FEATURES) if mask else 0


def _active(bits: bytes, number: int) -> bool:
    """Tell whether a feature is active: in 32 bits each available, requested, active, fixed."""
    (active,) = struct.unpack_from("=8xI", bits, number // 32 * 16)
    return bool(active >> number % 32 & 1)


def _ask(door: socket.socket, interface: str, question: bytes) -> bytes:
    """Have the kernel answer a question in its place. Raises OSError."""
    place = ctypes.create_string_buffer(question, len(question))
    name = interface.encode("utf-8", "surrogateescape")[: _NAME_SIZE - 1]
    fcntl.ioctl(door, _SIOCETHTOOL, struct.pack("16sP16x", name, ctypes.addressof(place)))
    return place.raw
