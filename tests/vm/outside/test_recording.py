"""What was recorded in the VM shows the same host on another machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nodedevd.cli.embedded import Embedded
from nodedevd.tree.record import record
from tests.support.running import NODEDEVCTL

LEFT = Path(os.environ.get("NODEDEVD_VM", "/nowhere"))
HOST = LEFT / "host.ttar"
"""The recorded host, among what the VM has left."""


def tree(host: Path) -> str:
    """Return the tree of a recorded host, as nodedevctl draws it."""
    command = [*NODEDEVCTL, "--sysroot", str(host), "tree"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def without_features(device: dict[str, Any]) -> dict[str, Any]:
    """Take away what is asked of a driver by ioctl, and is in no file."""
    for cap in device["capabilities"]:
        cap.pop("features", None)
    return device


def test_recording_is_the_host() -> None:
    """Every device with all that the daemon told of it in the VM, and the same tree."""
    devices = json.loads(Embedded(str(HOST)).snapshot_json())["devices"]
    found = {device["name"]: without_features(device) for device in devices}
    told = json.loads((LEFT / "devices.json").read_text())
    assert sorted(found) == sorted(told)
    different = {name for name, device in told.items() if found[name] != without_features(device)}
    assert {name: found[name] for name in different} == {name: told[name] for name in different}
    assert tree(HOST) == (LEFT / "tree").read_text()
    mdevs = [device["parent"] for name, device in found.items() if name.startswith("mdev_")]
    assert sorted(mdevs) == ["mbochs_mbochs", "mdpy_mdpy", "mtty_mtty"]


def test_recording_for_others_is_the_host_under_other_names(tmp_path: Path) -> None:
    """The tree has the same form, and no uuid, serial number or address is left in it."""
    other = tmp_path / "other"
    assert record(str(HOST), str(other)).replaced
    before, after = tree(HOST), tree(other)
    kinds = [sorted(re.findall(r"\+- ([a-z]+)_", text)) for text in (before, after)]
    assert kinds[0] == kinds[1]
    uuids = re.findall(r"\bmdev_(\w+)", before)
    assert len(uuids) == 3
    files = [path for path in other.rglob("*") if path.is_file()]
    text = "".join(path.read_text(errors="replace") + str(path) for path in files) + after
    for secret in ("52:54:00:00:00:13", "VMSD0", "VMHOST", *uuids):
        assert secret not in text
        assert secret.replace("_", "-") not in text


pytestmark = pytest.mark.skipif(not LEFT.exists(), reason="`make vm-test` runs this")
