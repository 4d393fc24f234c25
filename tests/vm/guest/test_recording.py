"""The VM is recorded, for a look at it from outside; see tests/vm/outside."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.watcher import devices_of_daemon
from tests.vm.guest import vm

pytestmark = pytest.mark.usefixtures("no_mdevs")


def test_host_is_recorded(tmp_path: Path) -> None:
    """As it is, with an mdev of each sample."""
    uuids = {sample: vm.new_uuid() for sample in vm.SAMPLES}
    for sample, one in uuids.items():
        vm.create(sample, one)
    with vm.watching("mdev_") as watcher:
        watcher.until(lambda: vm.complete(watcher.devices, *uuids.values()))
    vm.assert_true()
    done = vm.nodedevctl("record", str(tmp_path / "host.ttar"), "--raw", "--json")
    told = devices_of_daemon(vm.SOCKET)
    assert (done["device_count"], done["lost"]) == (len(told), [])
    shutil.copy(tmp_path / "host.ttar", vm.OUT)
    (vm.OUT / "devices.json").write_text(json.dumps(told))
    (vm.OUT / "tree").write_text(vm.run("nodedevctl", "tree"))
