"""The sample hosts, scanned: XML, JSON and drawing equal the files below tests/golden."""

from __future__ import annotations

import msgspec
import pytest

from nodedevd.cli.tree_drawing import draw
from nodedevd.model.listing import Devices
from nodedevd.model.snapshot import Snapshot
from tests.support.golden import DIRECTORY, Golden
from tests.support.hosts import HOSTS, snapshot_of
from tests.support.xml import native_document, native_xml, validate


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    """Return the name of each sample host in turn."""
    return str(request.param)


@pytest.fixture
def snapshot(host: str) -> Snapshot:
    """Return the scan of the host."""
    return snapshot_of(host)


def test_host_scanned_gives_its_golden_xml(host: str, snapshot: Snapshot, golden: Golden) -> None:
    """The native document of a host equals the golden file and is valid by the schema."""
    text = native_document(snapshot, snapshot.generation)
    assert len(validate(text)) == len(snapshot)
    golden.check(f"{host}/native.xml", text)


def test_each_device_of_host_alone_is_a_valid_document(snapshot: Snapshot) -> None:
    """A device by itself is valid by the schema, too."""
    names = [validate(native_xml(device)).findtext("name") for device in snapshot]
    assert names == list(snapshot.names)


def test_host_scanned_gives_its_golden_json(host: str, snapshot: Snapshot, golden: Golden) -> None:
    """The JSON of a host equals the golden file and decodes to the same devices."""
    devices = Devices(snapshot.generation, tuple(snapshot))
    data = msgspec.json.encode(devices)
    assert msgspec.json.decode(data, type=Devices) == devices
    golden.check(f"{host}/devices.json", msgspec.json.format(data).decode() + "\n")


def test_host_scanned_gives_its_golden_tree(host: str, snapshot: Snapshot, golden: Golden) -> None:
    """The drawing of a host equals the golden file."""
    golden.check(f"{host}/tree.txt", draw({device.name: device.parent for device in snapshot}))


def test_host_scanned_meets_no_defect(snapshot: Snapshot) -> None:
    """Whatever a host shows, no fault is nodedevd's own."""
    faults = [fault for device in snapshot for fault in device.errors]
    assert [fault for fault in (*snapshot.errors, *faults) if fault.code == "internal"] == []


def test_host_is_a_tree_with_one_root(snapshot: Snapshot) -> None:
    """Every device but `computer` hangs below another device of the host."""
    parents = {device.name: device.parent for device in snapshot}
    assert [name for name, parent in parents.items() if parent is None] == ["computer"]
    for name in parents:
        seen = []
        while name != "computer":
            assert name not in seen
            seen.append(name)
            name = parents[name] or ""


def test_no_golden_is_left_of_a_host_that_is_gone() -> None:
    """Every directory below tests/golden belongs to a sample host."""
    assert sorted(path.name for path in DIRECTORY.iterdir() if path.is_dir()) == HOSTS
