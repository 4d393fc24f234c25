"""cards_without_vgpus: cards that should offer vGPUs and offer none, each with its reason."""

from __future__ import annotations

import pytest

from nodedevd.host.sysroot import Sysroot
from nodedevd.questions.cards_without_vgpus import CardWithoutVgpus, cards_without_vgpus
from nodedevd.tree.read import scan
from tests.support.hosts import snapshot_of
from tests.support.trees import Tree

PF = "0000:ae:00.0"
VFS = ["0000:ae:00.4", "0000:ae:00.5"]
CARD = "pci_0000_ae_00_0"
NAMES = ("pci_0000_ae_00_4", "pci_0000_ae_00_5")
LISTS: dict[str, str | int] = {
    "nvidia/current_vgpu_type": 0,
    "nvidia/creatable_vgpu_types": "ID    : vGPU Name\n",
}


def card(
    tree: Tree,
    *,
    vfs: list[str] = VFS,
    driver: str | None = "nvidia",
    of_card: str | None = "nvidia",
    attributes: dict[str, str | int] | None = None,
    vendor: int = 0x10DE,
    class_: int = 0x030200,
) -> tuple[CardWithoutVgpus, ...]:
    """Build a card with virtual functions of this driver, and return the answer."""
    tree.pci(PF, vendor=vendor, device=0x26B9, class_=class_, driver=of_card)
    for vf in vfs:
        tree.pci(
            vf, vendor=vendor, device=0x26B9, class_=class_, driver=driver,
            attributes=dict(attributes or {}),
        )  # fmt: skip
    tree.sriov(PF, vfs, total=32)
    return cards_without_vgpus(scan(Sysroot()))


def test_virtual_functions_on_another_driver_make_no_vgpus(tree: Tree) -> None:
    """vfio-pci has been bound to them: to pass them through, as is right for network cards."""
    assert card(tree, driver="vfio-pci") == (
        CardWithoutVgpus(CARD, "vfs-on-other-driver", NAMES, "vfio-pci"),
    )


def test_virtual_functions_without_a_driver_make_no_vgpus(tree: Tree) -> None:
    """sriov_drivers_autoprobe is 0, or the driver refused them."""
    assert card(tree, driver=None) == (CardWithoutVgpus(CARD, "vfs-without-driver", NAMES, None),)


def test_virtual_functions_without_either_interface_make_no_vgpus(tree: Tree) -> None:
    """The services of the host driver do not run, or do not support the card."""
    assert card(tree) == (CardWithoutVgpus(CARD, "vfs-without-interface", NAMES, "nvidia"),)


def test_some_functions_of_a_card_may_offer_nothing(tree: Tree) -> None:
    """One was bound to vfio-pci by hand; the card offers vGPUs on the others."""
    tree.pci(PF, vendor=0x10DE, device=0x26B9, class_=0x030200, driver="nvidia")
    for vf, driver in zip(VFS, ("nvidia", "vfio-pci"), strict=True):
        tree.pci(vf, vendor=0x10DE, device=0x26B9, class_=0x030200, driver=driver)
    tree.mdev_type(VFS[0], "nvidia-1", name="NVIDIA L40S-1Q")
    tree.sriov(PF, VFS)
    assert cards_without_vgpus(scan(Sysroot())) == (
        CardWithoutVgpus(CARD, "vfs-on-other-driver", NAMES[1:], "vfio-pci"),
    )


def test_card_without_virtual_functions_says_so(tree: Tree) -> None:
    """Its physical function offers no types."""
    assert card(tree, vfs=[]) == (CardWithoutVgpus(CARD, "no-vf-enabled", (CARD,), "nvidia"),)


@pytest.mark.parametrize("of_card", ["nouveau", "vfio-pci", None])
def test_card_without_virtual_functions_may_have_another_use(
    tree: Tree, of_card: str | None
) -> None:
    """Its driver shows that no vGPUs are meant."""
    assert card(tree, vfs=[], of_card=of_card) == ()


def test_card_that_is_assigned_as_a_whole_is_not_meant_for_vgpus(tree: Tree) -> None:
    """vfio-pci can enable virtual functions, too."""
    assert card(tree, of_card="vfio-pci", driver="vfio-pci") == ()


def test_idle_functions_that_list_nothing_are_a_card_in_mig_mode(tree: Tree) -> None:
    """Without GPU instances no type can be created."""
    assert card(tree, attributes=LISTS) == (
        CardWithoutVgpus(CARD, "none-creatable", NAMES, "nvidia"),
    )


def test_functions_that_list_nothing_beside_a_vgpu_are_a_full_card(tree: Tree) -> None:
    """The profile takes it all."""
    full: dict[str, str | int] = LISTS | {"nvidia/current_vgpu_type": 1155}
    assert card(tree, attributes=full) == ()


@pytest.mark.parametrize("count", [0, "?"])
def test_types_of_which_none_can_be_created_are_told_from_unknown_ones(
    tree: Tree, count: int | str
) -> None:
    """A count that cannot be read proves nothing."""
    tree.pci(PF, vendor=0x10DE, device=0x26B9, class_=0x030200, driver="nvidia")
    tree.mdev_type(PF, "nvidia-1", name="GRID P40-1Q", available=count)
    found = [(one.card, one.reason) for one in cards_without_vgpus(scan(Sysroot()))]
    assert found == ([(CARD, "none-creatable")] if count == 0 else [])


def test_mdev_that_is_being_removed_takes_the_capacity(tree: Tree) -> None:
    """The card is not idle: the kernel waits for the VM that has the mdev open."""
    tree.pci(PF, vendor=0x10DE, device=0x26B9, class_=0x030200, driver="nvidia")
    tree.mdev_type(PF, "nvidia-1", name="GRID P40-24Q", available=0)
    tree.mdev(PF, "5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01", None)
    assert cards_without_vgpus(scan(Sysroot())) == ()


def test_parent_without_types_is_found_for_any_driver(tree: Tree) -> None:
    """It is listed in /sys/class/mdev_bus alone."""
    tree.pci(PF, vendor=0x8086, device=0x3E98, class_=0x030000, driver="i915")
    tree.mdev_parent(PF)
    assert cards_without_vgpus(scan(Sysroot())) == (
        CardWithoutVgpus(CARD, "no-types", (CARD,), "i915"),
    )


def test_virtual_functions_of_other_cards_are_made_for_vfio_pci(tree: Tree) -> None:
    """Those of network cards, and of Intel's GPUs."""
    assert card(tree, vendor=0x8086, class_=0x020000, driver="vfio-pci") == ()
    assert card(tree, vendor=0x8086, driver="vfio-pci") == ()


@pytest.mark.parametrize(
    ("host", "cards"),
    [
        ("vgpu-vendor-vfio", [("pci_0000_5e_00_0", "no-vf-enabled")]),
        ("broken", [("pci_0000_00_00_0", "no-types")]),
        *[(host, []) for host in ("vgpu-sriov", "vgpu-pf", "igpu-gvtg", "s390x-full", "samples")],
    ],
)
def test_sample_hosts_have_few_such_cards(host: str, cards: list[tuple[str, str]]) -> None:
    """Hosts on which vGPUs can be created have none."""
    found = cards_without_vgpus(snapshot_of(host))
    assert [(one.card, one.reason) for one in found] == cards
