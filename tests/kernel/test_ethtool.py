"""ethtool: a real kernel's answer, of the one interface that every host has."""

from __future__ import annotations

import errno
import socket

import pytest

from nodedevd.host.ethtool import active_features, words
from nodedevd.host.sysroot import Sysroot
from nodedevd.tree.read import read_device

LOOPBACK = "lo"


@pytest.mark.needs("loopback")
def test_features_of_the_loopback_are_those_its_driver_has() -> None:
    """drivers/net/loopback.c: these features cannot be switched off."""
    active = active_features(LOOPBACK, socket.if_nametoindex(LOOPBACK))
    assert {"highdma", "loopback", "vlan-challenged", "rx-checksum"} <= active
    assert "" not in active
    assert "rx" in words(active)


@pytest.mark.needs("loopback")
def test_interface_of_another_index_is_none() -> None:
    """A name may lead to another interface in the namespace of /sys."""
    with pytest.raises(OSError, match="No such device") as caught:
        active_features(LOOPBACK, socket.if_nametoindex(LOOPBACK) + 1)
    assert caught.value.errno == errno.ENODEV


@pytest.mark.parametrize("name", ["no-such-if", "", "x" * 300, "Größe", "\udcff"])
def test_name_of_no_interface_is_an_error(name: str) -> None:
    """Whatever the name is."""
    with pytest.raises(OSError, match="No such device"):
        active_features(name, 1)


@pytest.mark.needs("loopback")
def test_loopback_of_this_host_shows_its_features() -> None:
    """From the kernel's answer to libvirt's words, by a scan's own way."""
    reading = read_device(Sysroot(), "/sys/devices/virtual/net/lo", ["/sys/class/net"])
    assert reading is not None
    features = getattr(reading.capabilities[0], "features", None)
    assert features == words(active_features(LOOPBACK, socket.if_nametoindex(LOOPBACK)))
