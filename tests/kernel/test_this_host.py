"""This machine's own /sys: what lspci says of it, nodedevd says."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from nodedevd.cli.main import main
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.net import Net
from nodedevd.kinds.pci import Pci
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import parse_pci
from nodedevd.questions.resolve import resolve
from nodedevd.tree.read import scan
from nodedevd.tree.record import record
from tests.support.real_devices import others_may_change
from tests.support.xml import native_document, native_xml, validate

PCI_DEVICES = "/sys/bus/pci/devices"
LSPCI = shutil.which("lspci")


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    """Return the scan of this machine."""
    return scan(Sysroot())


def names_of_all(devices: Iterable[Device]) -> list[str]:
    """Return the names of the devices, without those that other programs make meanwhile."""
    return [one.name for one in devices if not others_may_change(one.name)]


def functions(snapshot: Snapshot) -> dict[str, tuple[Device, Pci]]:
    """Return the PCI functions of a snapshot by their address."""
    return {
        pci.address: (device, pci)
        for device in snapshot
        if (pci := device.capability(Pci)) is not None and pci.address is not None
    }


def lspci() -> Iterator[dict[str, str]]:
    """Return what lspci says of each function: its own field names, numbers as it prints them."""
    assert LSPCI is not None
    out = subprocess.run(
        [LSPCI, "-vmmnnD", "-k"],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    ).stdout
    for block in out.strip().split("\n\n"):
        pairs = [line.split(":\t", 1) for line in block.splitlines()]
        # Module: comes once for each module.
        yield {key: value for key, value in pairs if key != "Module"}


def number(text: str) -> int:
    """Return the number in brackets at the end of what lspci -nn prints: `Name [8086]`."""
    return int(text.rpartition("[")[2].rstrip("]"), 16)


@pytest.mark.needs("PCI")
def test_every_pci_device_of_this_host_is_in_the_tree(snapshot: Snapshot) -> None:
    """The tree has all functions the kernel lists, and no other, each at its own path."""
    found = functions(snapshot)
    assert set(found) == set(os.listdir(PCI_DEVICES))
    for address, (device, _) in found.items():
        assert device.path == os.path.realpath(f"{PCI_DEVICES}/{address}")
        assert device.sysname == address
        assert device.parent is not None
        assert snapshot.get(device.parent) is not None


@pytest.mark.needs("PCI", "lspci")
def test_pci_devices_of_this_host_are_what_lspci_says(snapshot: Snapshot) -> None:
    """Class, vendor, device, subsystem, revision and driver equal those of lspci."""
    found = functions(snapshot)
    said = {fields["Slot"]: fields for fields in lspci()}
    assert set(said) == set(found)
    for address, fields in said.items():
        device, pci = found[address]
        assert pci.class_code is not None
        assert pci.vendor is not None
        assert pci.product is not None
        assert int(pci.class_code, 16) >> 8 == number(fields["Class"]), address
        assert int(pci.vendor.id, 16) == number(fields["Vendor"]), address
        assert int(pci.product.id, 16) == number(fields["Device"]), address
        vendor, product = pci.subsystem_vendor, pci.subsystem_product
        if "SVendor" in fields:
            assert vendor is not None, address
            assert product is not None, address
            assert int(vendor.id, 16) == number(fields["SVendor"]), address
            assert int(product.id, 16) == number(fields["SDevice"]), address
        else:
            assert vendor is None or vendor.id == "0xffff", address
        # lspci leaves out a revision of 0.
        assert int(pci.revision or "0", 16) == int(fields.get("Rev", "0"), 16), address
        assert device.driver == fields.get("Driver"), address


def test_every_device_of_this_host_is_valid_xml(snapshot: Snapshot) -> None:
    """The schema takes each device alone, and all of them in one document."""
    for device in snapshot:
        assert validate(native_xml(device)).findtext("name") == device.name
    assert len(validate(native_document(snapshot, snapshot.generation))) == len(snapshot)


def test_scan_of_this_host_meets_no_defect(snapshot: Snapshot) -> None:
    """Whatever this host shows, no fault is nodedevd's own."""
    faults = [fault for device in snapshot for fault in device.errors]
    assert [fault for fault in (*snapshot.errors, *faults) if fault.code == "internal"] == []


def test_two_scans_of_this_host_have_the_same_names(snapshot: Snapshot) -> None:
    """Names depend on what there is, not on when it is looked at."""
    assert names_of_all(scan(Sysroot())) == names_of_all(snapshot)


def test_this_machine_without_a_daemon_is_examined(tmp_path: Path) -> None:
    """Among the findings of this machine is the missing daemon."""
    path = str(tmp_path / "socket")
    result = CliRunner().invoke(main, ["--socket", path, "doctor", "--json"])
    report = json.loads(result.stdout)
    (finding,) = [one for one in report["findings"] if one["code"] == "no-daemon"]
    assert path in finding["text"]
    assert finding["severity"] == ("warning" if report["container"] is None else "note")
    worst = {one["severity"] for one in report["findings"]}
    assert result.exit_code == (0 if worst == {"note"} else 5)
    assert report["sysroot"] == "/"


@pytest.mark.needs("loopback")
def test_every_interface_and_disk_of_this_machine_is_found(snapshot: Snapshot) -> None:
    """Kernel names and nodes are resolved."""

    def names(text: str) -> list[str]:
        return [one.name for one in resolve(snapshot, text).devices]

    devices = [one for one in snapshot if one.subsystem in ("net", "block")]
    assert any(one.subsystem == "net" for one in devices)
    for device in devices:
        assert names(device.sysname or "") == [device.name]
        if device.devnode is not None:
            assert device.name in names(device.devnode)


def test_raw_recording_of_this_machine_scans_the_same(tmp_path: Path) -> None:
    """The host that the tests run on."""
    recorded = record("/", str(tmp_path), raw=True)
    blamed = {path.rpartition("/")[0] for path in recorded.lost}
    copy, original = scan(Sysroot(str(tmp_path))), scan(Sysroot())
    names = names_of_all(original)
    assert names_of_all(copy) == names
    for name in names:
        new, old = copy.lookup(name), original.lookup(name)
        if (old.path or old.name) not in blamed:
            assert new == without_features(old)
    assert recorded.devices == len(copy)


def without_features(device: Device) -> Device:
    """Leave out what is in no file."""
    capabilities = tuple(
        msgspec.structs.replace(one, features=None) if isinstance(one, Net) else one
        for one in device.capabilities
    )
    return msgspec.structs.replace(device, capabilities=capabilities)


def identities() -> Iterator[str]:
    """Yield what identifies this machine: of its interfaces, disks, firmware and systemd."""
    for pattern in (
        *("class/net/*/address", "class/net/*/phys_switch_id", "class/dmi/id/*_serial"),
        *("class/dmi/id/*_uuid", "class/dmi/id/*_asset_tag", "block/*/serial", "block/*/wwid"),
        *("block/*/device/serial", "block/*/device/wwid", "class/infiniband/*/node_guid"),
        *("bus/usb/devices/*/serial", "block/*/loop/backing_file", "block/*/dm/name"),
    ):
        for path in Path("/sys").glob(pattern):
            with contextlib.suppress(OSError):
                yield path.read_text(errors="replace").strip()
    for path in map(Path, ("/etc/machine-id", "/proc/sys/kernel/random/boot_id")):
        if path.exists():
            yield path.read_text().strip()
    for path in Path("/dev/disk/by-uuid").glob("*"):
        yield path.name
    addresses = subprocess.run(["hostname", "-I"], stdout=subprocess.PIPE, text=True, check=False)
    yield from addresses.stdout.split()


@pytest.mark.needs("root")
def test_recording_of_this_machine_does_not_identify_it(tmp_path: Path) -> None:
    """None of its addresses, serial numbers, uuids and its name is there, in any form."""
    record("/", str(tmp_path / "host.ttar"))
    text = (tmp_path / "host.ttar").read_text(encoding="utf-8").lower()
    found = []
    for value in map(str.lower, identities()):
        forms = {value, "".join(one for one in value if one.isalnum())}
        # Of words as short, and of 0123456789 and the like, any text is full.
        if len(value) > 5 and len(set(value) - {":"}) > 3 and parse_pci(value) is None:
            found += [form for form in forms if form in text]
    assert found == []
    assert not re.search(rf"\b{re.escape(os.uname().nodename.lower())}\b", text)
