"""ethtool: the active offload features of a network interface, by ioctl.

Source: ethtool(8), Linux's include/uapi/linux/ethtool.h. Features have names, since their
numbers differ from kernel to kernel.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from functools import lru_cache

_SIOCGIFINDEX = 0x8933
_SIOCETHTOOL = 0x8946
_GSTRINGS = 0x1B
_GSSET_INFO = 0x37
_GFEATURES = 0x3A
_SS_FEATURES = 4
_STRING_SIZE = 32
_MOST_FEATURES = 4096  # 64 in Linux 6.12
_NAME_SIZE = 16  # IFNAMSIZ

RDMA = "rdma"
"""Not a feature of ethtool: the interface's device also has an InfiniBand device."""

SWITCHDEV = "switchdev"
"""Not a feature of ethtool: the card is in switchdev mode, see `devlink`."""

# libvirt's words in its order; each stands for any of the kernel's features beside it.
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
    """Return libvirt's words for the active features of the kernel, in libvirt's order."""
    return tuple([word for word, names in _WORDS.items() if not names.isdisjoint(active)])


def active_features(interface: str, index: int) -> frozenset[str]:
    """Return the kernel's names of an interface's active features. Blocking.

    The interface has this name and index in the network namespace of the process. Raises
    OSError: ENODEV if there is no such interface, EOPNOTSUPP if it reports no features.
    """
    # Any socket works; the unit forbids those of the Internet.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        if _index(channel, interface) != index:  # /sys may be of another namespace
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), interface)
        count = _count(channel, interface)
        names = _request(
            channel,
            interface,
            struct.pack("=III", _GSTRINGS, _SS_FEATURES, count) + bytes(count * _STRING_SIZE),
        )[12:]
        blocks = (count + 31) // 32
        bits = _request(
            channel, interface, struct.pack("=II", _GFEATURES, blocks) + bytes(blocks * 16)
        )[8:]
    return _named(names, bits)


@lru_cache(maxsize=16)
def _named(names: bytes, bits: bytes) -> frozenset[str]:
    """Return the names of the active features, which most interfaces of a driver have in common."""
    starts = range(0, len(names), _STRING_SIZE)
    return frozenset(
        names[at : at + _STRING_SIZE].split(b"\0", 1)[0].decode("ascii", "backslashreplace")
        for number, at in enumerate(starts)
        if _active(bits, number)
    )


def _index(channel: socket.socket, interface: str) -> int:
    # socket.if_nametoindex() takes every error for an interface that is missing.
    answer = fcntl.ioctl(channel, _SIOCGIFINDEX, struct.pack("16s24x", _name(interface)))
    return int(struct.unpack_from("=i", answer, _NAME_SIZE)[0])


def _count(channel: socket.socket, interface: str) -> int:
    request = struct.pack("=IIQI", _GSSET_INFO, 0, 1 << _SS_FEATURES, 0)
    mask, count = struct.unpack("=8xQI", _request(channel, interface, request))
    return min(int(count), _MOST_FEATURES) if mask else 0


def _active(bits: bytes, number: int) -> bool:
    """Return whether a feature is active; a block is 32 bits each: available, requested, active."""
    (active,) = struct.unpack_from("=8xI", bits, number // 32 * 16)
    return bool(active >> number % 32 & 1)


def _request(channel: socket.socket, interface: str, request: bytes) -> bytes:
    """Send a request, and return what the kernel writes over it. Raises OSError."""
    buffer = ctypes.create_string_buffer(request, len(request))
    address = ctypes.addressof(buffer)
    fcntl.ioctl(channel, _SIOCETHTOOL, struct.pack("16sP16x", _name(interface), address))
    return buffer.raw


def _name(interface: str) -> bytes:
    return interface.encode("utf-8", "surrogateescape")[: _NAME_SIZE - 1]
