"""A chain of devices that is deeper than Python lets functions nest."""

from __future__ import annotations

import pytest

from nodedevd.formats import Format, dump
from nodedevd.kinds.drm import Drm
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import ROOT
from nodedevd.tree.graft import Reading, graft
from tests.support.hosts import snapshot_of

DEPTH = 5000


@pytest.fixture(scope="module")
def deep() -> Snapshot:
    """A host with a chain of devices, each below the one before."""
    paths = ["/sys/devices"]
    for _ in range(DEPTH):
        paths.append(f"{paths[-1]}/d")
    readings = [
        Reading(path, f"s{number}", None, (Drm("render"),), (), None, ())
        for number, path in enumerate(paths[1:])
    ]
    root = snapshot_of("vgpu-pf").lookup(ROOT)
    return graft(Snapshot(), readings=readings, computer=root).snapshot


def above(snapshot: Snapshot, device: Device) -> int:
    """Return how many devices lie above one."""
    count = 0
    while device.name != ROOT:
        device, count = snapshot.lookup(device.parent or ""), count + 1
    return count


@pytest.mark.exhaustive
@pytest.mark.parametrize("form", ["nodedevd", "libvirt"])
def test_chain_of_5000_devices_is_dumped(deep: Snapshot, form: Format) -> None:
    """Each device is below the one before."""
    assert above(deep, deep.lookup(f"s{DEPTH - 1}_d")) == DEPTH
    assert dump(deep, None, form).count("<device>") == len(deep) == DEPTH + 1
