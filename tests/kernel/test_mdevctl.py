"""The real mdevctl reads the same definitions as nodedevd."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from nodedevd.host.faults import Faults
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.shared.mdevctl import DIRECTORY, find_definitions, read_definition
from tests.support.trees import Tree

UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
OTHER = "a2c1a9b0-5c3e-4f27-b6d4-0d6e2f9b7c02"
PARENT = "0000:00:02.0"


_IN_NAMESPACE = ("unshare", "--map-root-user", "--mount", "sh", "-euc")


_AS_ETC = 'mount --bind "$0" /etc/mdevctl.d; exec mdevctl list --defined --dumpjson'


@pytest.mark.needs("mdevctl")
def test_mdevctl_reads_the_same(tmp_path: Path) -> None:
    """The definitions found and read are those that mdevctl lists."""
    tree = Tree(tmp_path)
    tree.definition(PARENT, UUID, "t-1", start="auto", attributes=[("b", "1"), ("a", "2")])
    tree.definition(PARENT, OTHER, "t-2", start="whatever", attributes=[("b", "1"), ("b", "1")])
    tree.definition("mtty", UUID, "")
    tree.file(f"{DIRECTORY}/matrix/{OTHER}", '{"start":"manual","mdev_type":"t","attrs":null}')
    tree.file(f"{DIRECTORY}/matrix/{OTHER}.old", "{")
    tree.directory(f"{DIRECTORY}/matrix/{UUID}")
    for name in ("callouts", "notifiers"):  # without which it does not run
        tree.directory(f"{DIRECTORY}/scripts.d/{name}")
    done = subprocess.run(
        [*_IN_NAMESPACE, _AS_ETC, tree.at(DIRECTORY)], capture_output=True, text=True
    )
    if done.returncode != 0 and "unshare" in done.stderr:
        pytest.skip(f"no mount namespace: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    theirs = {
        (parent, uuid): (one["mdev_type"], one["start"] == "auto", one["attrs"])
        for entry in json.loads(done.stdout)
        for parent, definitions in entry.items()
        for definition in definitions
        for uuid, one in definition.items()
    }
    sysroot = Sysroot(str(tmp_path))
    ours = {}
    for path in find_definitions(sysroot, Faults()):
        definition = read_definition(sysroot, path)
        if definition is not None:
            parent, uuid = path.split("/")[-2:]
            attributes = [{one.name: one.value} for one in definition.attributes]
            ours[parent, uuid] = (definition.mdev_type, definition.autostart, attributes)
    assert ours == theirs
    assert len(ours) == 4
