"""snapshot: a lookup accepts every name of a device, and no other."""

from __future__ import annotations

from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.errors import InvalidParameter, NoSuchDevice
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds import WORDS
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci
from nodedevd.model.device import Device, filter_words
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.read import scan
from tests.support.hosts import HOSTS, snapshot_of
from tests.support.trees import Tree

UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
MDEV = f"mdev_{UUID.replace('-', '_')}"
GPU = "/sys/devices/pci0000:00/0000:00:02.0"
VMD = "/sys/devices/pci10000:e0/10000:e0:06.0"
MTTY = "/sys/devices/virtual/mtty/mtty"


def build() -> Snapshot:
    """Scan a host with two PCI functions, two mdev parents and an mdev."""
    with TemporaryDirectory() as root:
        tree = Tree(root)
        gpu = tree.pci("0000:00:02.0", vendor=0x8086, device=0x3E98, class_=0x030000)
        tree.pci("10000:e0:06.0", parent="pci10000:e0", vendor=1, device=2, class_=3)
        tree.mdev_type(gpu, "i915-GVTg_V5_4")
        tree.mdev_parent(gpu)
        mtty = tree.device(MTTY, class_="mtty")
        tree.mdev_type(mtty, "mtty-1", name="Single port serial")
        tree.mdev_parent(mtty)
        tree.mdev(gpu, UUID, "i915-GVTg_V5_4")
        return scan(Sysroot(root))


HOST = build()


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("computer", None),
        ("pci_0000_00_02_0", GPU),
        ("mtty_mtty", MTTY),
        (MDEV, f"{GPU}/{UUID}"),
        # by uuid
        (UUID, f"{GPU}/{UUID}"),
        (UUID.upper(), f"{GPU}/{UUID}"),
        (f"mdev_{UUID}", f"{GPU}/{UUID}"),
        (f"mdev_{UUID.upper()}", f"{GPU}/{UUID}"),
        (f"{MDEV}_0000_00_02_0", f"{GPU}/{UUID}"),
        (f"mdev_{UUID}_0000:00:02.0", f"{GPU}/{UUID}"),
        # by address
        ("0000:00:02.0", GPU),
        ("00:02.0", GPU),
        ("10000:e0:06.0", VMD),
        ("10000:E0:06.0", VMD),
        # by path
        (GPU, GPU),
        (f"{GPU}/", GPU),
        (f"{GPU}///", GPU),
        (f"{GPU}/{UUID}", f"{GPU}/{UUID}"),
        ("/sys/bus/pci/devices/0000:00:02.0", GPU),
        ("/sys/bus/pci/devices/0000:00:02.0/", GPU),
        (f"/sys/bus/mdev/devices/{UUID}", f"{GPU}/{UUID}"),
        ("/sys/class/mdev_bus/0000:00:02.0", GPU),
        ("/sys/class/mdev_bus/mtty", MTTY),
        ("/sys/class/mtty/mtty", MTTY),
    ],
)
def test_device_is_found_by_any_name_it_goes_by(name: str, path: str | None) -> None:
    """Its own name, uuid, address, or path, links included."""
    assert HOST.lookup(name).path == path


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "pci",
        "Computer",
        "mdev_",
        UUID.replace("-", "_"),
        f"{UUID}0",
        UUID.replace("2", "3"),
        f"{MDEV}_0000_00_02_1",
        f"{MDEV}_",
        f"{MDEV}_0000_00_02_0_0",
        "0000:00:02.1",
        "0001:00:02.0",
        "e0:06.0",
        "/sys",
        "/sys/devices",
        f"{GPU}/vendor",
        f"{GPU}x",
        GPU[1:],
        f"/sys/bus/pci/devices/{UUID}",
        "/sys/bus/mdev/devices/0000:00:02.0",
        "/sys/bus/mdev_bus/devices/nothing",
        "/sys/bus/pci/devices/",
        "../../etc/passwd",
        "\x00",
        "x" * 100_000,
        "\U0001f5a5" * 1000,
    ],
)
def test_name_of_no_device_is_refused(name: str) -> None:
    """Near is not the same: an mdev below another parent is another mdev."""
    with pytest.raises(NoSuchDevice) as caught:
        HOST.lookup(name)
    assert caught.value.name == name
    assert len(caught.value.nearest) <= 3
    assert set(caught.value.nearest) <= set(HOST.names)


@given(st.text() | st.from_regex(r"(mdev_|/sys/|pci_)[-_:./0-9a-f]*", fullmatch=True))
def test_any_name_is_found_or_refused(name: str) -> None:
    """Whatever a client sends, there is no third outcome."""
    try:
        found = HOST.lookup(name)
    except NoSuchDevice:
        found = None
    assert found is None or found in list(HOST)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("00_02_0", ("pci_0000_00_02_0",)),
        ("0000:00:02", ("pci_0000_00_02_0",)),
        ("MTTY", ("mtty_mtty",)),
        ("pci_0000_00_02_1", ("pci_0000_00_02_0",)),
        ("computr", ("computer",)),
        ("mdev_27b42a51", (MDEV,)),
        ("xyzzy", ()),
        ("0", ()),
        ("", ()),
    ],
)
def test_wrong_name_is_answered_with_those_like_it(name: str, nearest: tuple[str, ...]) -> None:
    """Names that contain it come first, then those with the same beginning; all exist."""
    assert HOST.nearest(name)[: len(nearest)] == nearest
    assert bool(HOST.nearest(name)) == bool(nearest)


def test_error_names_the_nearest() -> None:
    """The message has the unknown name and the nearest ones."""
    with pytest.raises(NoSuchDevice) as caught:
        HOST.lookup("mtty")
    assert str(caught.value) == "no device named 'mtty'; did you mean mtty_mtty?"


def test_snapshot_is_sorted_by_name() -> None:
    """However devices were found, they come in one order."""
    names = [device.name for device in HOST]
    assert names == sorted(names) == list(HOST.names)
    assert len(HOST) == len(names) == 5
    assert HOST.get("computer") is HOST.lookup("computer")
    assert HOST.get(UUID) is None


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (None, ["computer", MDEV, "mtty_mtty", "pci_0000_00_02_0", "pci_10000_e0_06_0"]),
        ([], []),
        (["system"], ["computer"]),
        (["pci"], ["pci_0000_00_02_0", "pci_10000_e0_06_0"]),
        (["mdev_parent"], ["mtty_mtty", "pci_0000_00_02_0"]),
        (["mdev_types"], ["mtty_mtty", "pci_0000_00_02_0"]),
        (["mdev_child"], [MDEV]),
        (["mdev"], [MDEV]),
        (["mdev", "mdev_child", "system"], ["computer", MDEV]),
        (["pci", "mdev_types"], ["mtty_mtty", "pci_0000_00_02_0", "pci_10000_e0_06_0"]),
    ],
)
def test_filter_keeps_devices_with_any_of_its_words(
    words: list[str] | None, names: list[str]
) -> None:
    """Each once, in order; libvirt's words mean the same; an empty filter selects nothing."""
    assert [device.name for device in HOST.select(words)] == names


@pytest.mark.parametrize("host", sorted(HOSTS))
def test_filter_finds_a_device_by_each_of_its_words_and_no_other(host: str) -> None:
    """The parts that a capability may have are words like the types."""
    words = filter_words(WORDS)
    for device in snapshot_of(host):
        assert {word for word in words if device.passes({word})} == device.words
        assert device.passes(device.words)
        assert not device.passes(words - device.words)


@pytest.mark.parametrize("word", ["usb_hub", "", "PCI", "pci "])
def test_filter_with_an_unknown_word_is_refused(word: str) -> None:
    """The error names the parameter and all words there are."""
    with pytest.raises(InvalidParameter) as caught:
        HOST.select(["pci", word])
    assert caught.value.parameter == "capabilities"
    assert repr(word) in str(caught.value)
    assert all(known in str(caught.value) for known in WORDS)


def test_capability_is_found_by_its_kind() -> None:
    """The capability of a kind, or None."""
    gpu = HOST.lookup("pci_0000_00_02_0")
    assert gpu.capability(Pci) is gpu.capabilities[0]
    assert gpu.capability(MdevParent) is gpu.capabilities[1]
    assert HOST.lookup("computer").capability(Pci) is None
    assert gpu.types == ("pci", "mdev_parent")


def test_devices_that_want_one_name_are_both_found(tree: Tree) -> None:
    """The device with the smaller path has the name; each is found by path, too."""
    paths = ["/sys/devices/virtual/mdpy/v-1", "/sys/devices/virtual/mdpy/v.1"]
    for path in reversed(paths):
        tree.device(path, class_="mdpy")
        tree.mdev_type(path, "mdpy-vga")
        tree.mdev_parent(path)
    host = scan(Sysroot())
    assert [device.name for device in host] == ["computer", "mdpy_v_1", "mdpy_v_1_82d848b5"]
    assert [host.lookup(name).path for name in ("mdpy_v_1", "mdpy_v_1_82d848b5")] == paths
    assert [host.lookup(path).path for path in paths] == paths
    assert [host.lookup(f"/sys/class/mdpy/{path[-3:]}").path for path in paths] == paths


def test_devices_of_one_kernel_name_are_told_apart_by_bus(tree: Tree) -> None:
    """A kernel name is unique on its bus alone."""
    for bus in ("one", "two"):
        path = tree.device(f"/sys/devices/{bus}/same", bus=bus)
        tree.mdev_type(path, f"{bus}-1")
    host = scan(Sysroot())
    assert host.lookup("/sys/bus/one/devices/same").path == "/sys/devices/one/same"
    assert host.lookup("/sys/bus/two/devices/same").path == "/sys/devices/two/same"


def test_device_as_json_reads_back() -> None:
    """Every device of the host, by the types of the model."""
    for device in HOST:
        assert msgspec.json.decode(msgspec.json.encode(device), type=Device) == device
