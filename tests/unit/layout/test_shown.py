"""The layout of what a host has: it says what there is, and changes nothing there."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from nodedevd.host.sysroot import Sysroot
from nodedevd.layout.check import check_layout
from nodedevd.layout.compare import compare_layout
from nodedevd.layout.files import declared
from nodedevd.layout.shown import By, layout_shown, layout_text
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.read import scan
from tests.support.hosts import HOSTS, snapshot_of
from tests.support.trees import Tree

UNKNOWN = {"broken"}
"""Hosts with mdevs that no layout can name."""


def shown(snapshot: Snapshot, *names: str, by: By = "address") -> str:
    """Return the text of a host's layout."""
    return layout_text(layout_shown(snapshot, names or None, by))


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("by", ["address", "slots", "model"])
def test_layout_of_a_host_changes_nothing_there(host: str, by: By) -> None:
    """It has no problem, and all cards are in sync, also if what is not named is removed."""
    snapshot = snapshot_of(host)
    text = shown(snapshot, by=by)
    for more in ("", "remove_unnamed = true\n") if host not in UNKNOWN else ("",):
        found = declared([("a.toml", text.replace("[[card]]\n", f"[[card]]\n{more}"))])
        assert found.problems == ()
        assert check_layout(found.layout, snapshot) == ()
        for one in compare_layout(found.layout, snapshot):
            assert (one.state, one.differences, one.reasons) == ("in-sync", (), ())


def test_layout_of_a_host_names_every_vgpu() -> None:
    """Vendor VFIO by its functions and placements, an mdev by its UUID, driver and functions."""
    [card] = tomllib.loads(shown(snapshot_of("vgpu-vendor-vfio")))["card"]
    assert card["virtual_functions"] == 8
    assert card["vgpus"][1] == {"type": "1150", "functions": [1], "placement": [4]}
    sriov = shown(snapshot_of("vgpu-sriov"))
    assert 'type = "nvidia-746"  # NVIDIA A2-4Q\n' in sriov
    first = tomllib.loads(sriov)["card"][0]["mdevs"][0]
    assert first["attributes"] == ["nvidia/vgpu_params=frame_rate_limiter=0"]
    assert first["function"] == 0
    [nic] = tomllib.loads(shown(snapshot_of("vdpa-smartnic")))["card"]
    assert nic == {
        "address": "0000:3b:00.0",
        "virtual_functions": 4,
        "driver": "mlx5_core",
        "spare": 1,
    }


def test_what_a_layout_cannot_say_is_in_comments() -> None:
    """Mdevs whose type is not known, a UUID on two parents, a definition that is different."""
    text = shown(snapshot_of("broken"))
    assert "# mdev_not_a_uuid is left out: its name is no UUID\n" in text
    assert "is left out: it is being removed\n" in text
    text = shown(snapshot_of("mdev-modified-while-it-runs"))
    assert text.startswith("# the definition of 1d7f0c3a-2b41-4a6e-8f35-5b6c7d8e1101 has the type")
    assert "is defined on 0000:08:00.6, too" in shown(snapshot_of("vgpu-sriov"))


def test_cards_can_be_named_in_other_ways() -> None:
    """By their slots and by their model; a parent that is no PCI function has its name."""
    snapshot = snapshot_of("vgpu-vendor-vfio")
    [card] = tomllib.loads(shown(snapshot, "0000:26:00.6", by="slots"))["card"]
    assert card["slots"] == "pci0000:25/01.0/00.0"
    [card] = tomllib.loads(shown(snapshot, "0000:26:00.6", by="model"))["card"]
    assert (card["vendor"], card["product"]) == ("0x10de", "0x26b9")
    [card] = tomllib.loads(shown(snapshot_of("samples"), "mdpy_mdpy", by="slots"))["card"]
    assert card["parent"] == "mdpy"


@pytest.mark.parametrize("drivers", [("vfio-pci", "vfio-pci"), ("vfio-pci", None)])
def test_entry_by_model_is_for_cards_that_are_all_alike(
    tmp_path: Path, drivers: tuple[str | None, ...]
) -> None:
    """It is there once; others have their addresses."""
    tree = Tree(tmp_path)
    for number, driver in enumerate(drivers):
        address = f"0000:0{number}:00.0"
        tree.pci(address, vendor=0x144D, device=0xA824, class_=0x010802, driver=driver)
    snapshot = scan(Sysroot(str(tmp_path)))
    [card] = tomllib.loads(shown(snapshot, by="model"))["card"]
    alike = len(set(drivers)) == 1
    assert card == {
        **({"vendor": "0x144d", "product": "0xa824"} if alike else {"address": "0000:00:00.0"}),
        "driver": "vfio-pci",
    }


def test_card_with_mdevs_is_not_named_by_its_model() -> None:
    """A UUID is on one card, and every card of the model would be meant; so no file is wrong."""
    snapshot = snapshot_of("vgpu-sriov")
    text = shown(snapshot, by="model")
    assert 'address = "0000:08:00.0"' in text
    assert declared([("a.toml", text)]).problems == ()


def test_card_is_shown_for_any_of_its_devices() -> None:
    """An mdev, a function or the card; one that has nothing is shown if it is named."""
    snapshot = snapshot_of("vgpu-sriov")
    texts = {
        shown(snapshot, name)
        for name in ("0000:08:00.0", "0000:08:00.4", "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01")
    }
    assert len(texts) == 1
    assert shown(snapshot_of("laptop-usb-wifi")) == ""
