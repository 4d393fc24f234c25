"""The same kernel, libvirtd and nodedevd beside each other: the same devices, the same XML."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import libvirt
import pytest

from tests.libvirt.comparison import ALL, compare, expected, listed, seen
from tests.libvirt.deviations import DEVIATIONS, Shown
from tests.support.watcher import devices_of_daemon
from tests.vm.guest import vm

ROOT = Path("/")
KNOWN = ALL if libvirt.getVersion() < 11_003_000 else DEVIATIONS
"""How the libvirtd of this VM may differ from nodedevd, which is as 11.3."""
HIDDEN = {
    *("mdpy_mdpy", "mbochs_mbochs"),
    *("net_br0_52_54_00_00_01_00", "net_vlan7_52_54_00_00_01_00"),
    *("block_mmcblk0_0xdeadbeef", "block_pmem0", "block_zram0", "block_nullb0"),
}
"""Parents of mdevs, interfaces with a DEVTYPE, disks whose type udev does not know."""


class Both:
    """What both show at one time, by the names they have in libvirt's format."""

    def __init__(self, libvirtd: vm.Libvirt) -> None:
        names = sorted(libvirtd.names())
        self.theirs = dumped(vm.LIBVIRTD, names)
        self.ours = vm.documents(vm.run("nodedevctl", "dumpxml", "--all", "--format=libvirt"))
        self.served = dumped(vm.NODEDEVD, sorted(self.ours))
        self.native = devices_of_daemon(vm.SOCKET)


def dumped(uri: str, names: list[str]) -> dict[str, str]:
    """Return what virsh prints of devices, by name."""
    printed = vm.virsh(uri, *(["nodedev-dumpxml", name] for name in names))
    documents = vm.documents(printed)
    assert list(documents) == names
    return documents


@pytest.fixture(scope="module")
def mdevs() -> Iterator[dict[str, str]]:
    """Make an mdev of each sample, and one that is defined alone; uuids by sample."""
    uuids = {sample: vm.new_uuid() for sample in vm.SAMPLES}
    inactive = vm.new_uuid()
    for sample, one in uuids.items():
        vm.create(sample, one)
    vm.run("mdevctl", "define", "-u", inactive, "-p", "mtty", "-t", "mtty-1")
    with vm.watching() as watcher:
        watcher.until(
            lambda: (
                vm.complete(watcher.devices, *uuids.values())
                and vm.mdev_name(inactive) in watcher.devices
            )
        )
    yield {**uuids, "inactive": inactive}
    vm.run("mdevctl", "undefine", "-u", inactive)
    for one in uuids.values():
        vm.remove(one)


def listed_by(libvirtd: vm.Libvirt, name: str) -> bool:
    """Tell whether libvirtd lists a device."""
    return name in libvirtd.names()


@pytest.fixture(scope="module")
def both(mdevs: dict[str, str], libvirtd: vm.Libvirt) -> Both:
    """Ask both; libvirtd anew, since 11.3 keeps mdevs that came and went in other tests."""
    vm.run("systemctl", "stop", vm.LIBVIRTD_UNIT)
    vm.restart_libvirtd()
    libvirtd.connect()
    libvirtd.complete()
    # These three it has to show, too, before they can be compared.
    for sample in vm.SAMPLES:
        name = vm.libvirt_name(mdevs[sample], sample)
        vm.until(partial(listed_by, libvirtd, name), f"for libvirtd to show {name}")
    # libvirtd learns of definitions by a thread of its own.
    inactive = vm.libvirt_name(mdevs["inactive"], "mtty")
    vm.until(lambda: inactive in libvirtd.names(), "for libvirtd to find a definition")
    return Both(libvirtd)


def test_device_of_libvirtd_is_the_same_in_the_format_libvirt(both: Both) -> None:
    """Every one that it shows, character by character, but for what is documented."""
    compare(both.theirs, both.ours, ROOT, KNOWN)
    ours = expected(both.ours, ROOT, KNOWN)
    common = both.theirs.keys() & both.ours.keys()
    same = [name for name in common if both.theirs[name] == both.ours[name]]
    in_order = [name for name in common if listed(both.theirs[name]) == listed(both.ours[name])]
    vm.figures.append(
        f"devices that libvirtd shows: {len(both.theirs)}; by kind: {kinds(both.theirs)}"
    )
    vm.figures.append(
        f"of these nodedevd shows {len(both.theirs.keys() & ours.keys())};"
        f" identical as they are: {len(same)}, with lists sorted: {len(in_order)};"
        f" of a documented deviation: {deviating(both)}"
    )


def kinds(shown: Shown) -> str:
    """Count devices by their first capability."""
    found = Counter(
        re.findall(r"^ *<capability type='(\w+)'", xml, re.M)[0] for xml in shown.values()
    )
    return ", ".join(f"{number} {kind}" for kind, number in sorted(found.items()))


def deviating(both: Both) -> str:
    """Count the devices that each deviation is about."""
    found = {}
    for one in DEVIATIONS:
        theirs = sum(one.libvirt(xml, ROOT) != xml for xml in both.theirs.values())
        ours = sum(one.ours(xml, ROOT) != xml for xml in both.ours.values())
        extra = sum(one.extra(xml, ROOT) for xml in both.ours.values())
        found[one.name] = theirs + ours + extra
    return ", ".join(f"{number} {name}" for name, number in found.items() if number)


def test_libvirts_clients_get_the_same_of_nodedevd(both: Both) -> None:
    """What virsh prints over nodedevd's libvirt socket is what nodedevctl prints."""
    assert both.served == both.ours
    listed = vm.virsh(vm.NODEDEVD, ["nodedev-list", "--all"]).split()
    assert sorted(listed) == sorted(both.ours)


def test_libvirtd_does_not_show_these(both: Both, mdevs: dict[str, str]) -> None:
    """Parents of mdevs, bridges, VLANs and disks without udev's help; nodedevd does."""
    shown_there = set(re.findall("^  <path>(.*)</path>", "".join(both.theirs.values()), re.M))
    paths = {name: one["path"] for name, one in both.native.items() if one["path"]}
    hidden = {name for name, path in paths.items() if path not in shown_there}
    vm.figures.append(f"what nodedevd shows and libvirtd does not: {', '.join(sorted(hidden))}")
    assert hidden - {vm.mdev_name(mdevs["inactive"])} == HIDDEN
    # Their mdevs it shows, below the wrong device.
    for sample in ("mdpy", "mbochs"):
        xml = both.theirs[vm.libvirt_name(mdevs[sample], sample)]
        assert "<parent>computer</parent>" in xml
        assert both.native[vm.mdev_name(mdevs[sample])]["parent"] == vm.parent_name(sample)
    # And no type's description, anywhere.
    assert not any("<description>" in xml for xml in both.theirs.values())
    assert any("description" in json.dumps(one) for one in both.native.values())


def test_inactive_mdev_is_in_no_group(both: Both, mdevs: dict[str, str]) -> None:
    """For libvirtd it is in group 0, which is another device's here."""
    xml = both.theirs[vm.libvirt_name(mdevs["inactive"], "mtty")]
    assert "<iommuGroup number='0'/>" in xml
    assert Path("/sys/kernel/iommu_groups/0/devices").exists()
    assert "iommuGroup" not in both.ours[vm.libvirt_name(mdevs["inactive"], "mtty")]


def test_unknown_speed_is_no_number(both: Both) -> None:
    """virtio-net says -1; libvirtd prints what that is without a sign."""
    name = "net_enp5s0_52_54_00_00_00_11"
    assert Path("/sys/class/net/enp5s0/speed").read_text().strip() == "-1"
    assert "speed='4294967295'" in both.theirs[name]
    assert "speed=" not in both.ours[name]


def test_types_are_those_of_mdevctl(both: Both) -> None:
    """Parents, types and all that mdevctl tells of them."""
    theirs = {}
    for entry in json.loads(vm.run("mdevctl", "types", "--dumpjson")):
        for parent, types in entry.items():
            for offer in types:
                for type_id, facts in offer.items():
                    theirs[parent, type_id] = facts
    ours = {
        (one["card"].partition("_")[2], one["type"]): one
        for one in vm.nodedevctl("types", "--json")["types"]
    }
    assert ours.keys() == theirs.keys()
    for key, facts in theirs.items():
        one = ours[key]
        assert facts["available_instances"] == one["available"] == one["sure"]
        assert facts["device_api"] == one["device_api"]
        assert facts.get("name") == one["type_name"]
        assert facts.get("description") == one["description"]


def test_mdevs_are_those_of_mdevctl(both: Both, mdevs: dict[str, str]) -> None:
    """Active ones and definitions, each at its parent, with its type."""
    for state, options in (("active", []), ("inactive", ["--defined"])):
        theirs = set()
        for entry in json.loads(vm.run("mdevctl", "list", *options, "--dumpjson")):
            for parent, found in entry.items():
                for one in found:
                    for uuid, facts in one.items():
                        theirs.add((uuid, parent, facts["mdev_type"]))
        ours = set()
        for device in both.native.values():
            for cap in device["capabilities"]:
                if cap["type"] == "mdev_child" and (cap["mdev_state"] == "inactive") == (
                    state == "inactive"
                ):
                    ours.add((cap["uuid"], cap["parent_addr"], cap["mdev_type"]["type"]))
        assert ours == theirs
        assert ours


def test_comparison_can_fail(both: Both) -> None:
    """A device left out, or a character changed, is found."""
    name = "computer"
    with pytest.raises(AssertionError):
        compare(both.theirs, {**both.ours, name: both.ours[name] + "\n"}, ROOT, KNOWN)
    fewer = {one: xml for one, xml in both.theirs.items() if one != name}
    with pytest.raises(AssertionError):
        compare(fewer, both.ours, ROOT, KNOWN)
    assert len(seen(both.theirs, ROOT, KNOWN)) > 100
