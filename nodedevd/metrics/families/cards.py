"""cards: the label `card`, and the PCI addresses of cards as node_exporter writes them."""

from __future__ import annotations

from collections.abc import Iterable

from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.metrics.family import Family, Sample
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import device_name, parse_pci
from nodedevd.questions.vgpus import card_of


def card_label(snapshot: Snapshot, device: Device) -> str:
    """Return the name of a device's card, as `nodedevctl types` has it.

    That of an mdev is its parent's. A parent that is missing has the name that it would have, or
    its kernel name if it is no PCI function.
    """
    mdev = device.capability(MdevChild)
    if mdev is None:
        return card_of(device)
    parent = snapshot.get(mdev.parent or "")
    if parent is not None:
        return card_of(parent)
    address = parse_pci(mdev.parent_addr)
    return mdev.parent_addr if address is None else device_name("pci", str(address))


def describe(families: Iterable[Family]) -> Family:
    """Return the addresses of the cards that families are about, of PCI functions alone."""
    names = {one.labels.get("card", "") for family in families for one in family.samples}
    samples = []
    for name in sorted(names):
        address = parse_pci(name.removeprefix("pci_").replace("_", ":", 2).replace("_", "."))
        if name.startswith("pci_") and address is not None:
            domain, bus, rest = str(address).split(":")
            device, function = rest.split(".")
            labels = {"segment": domain, "bus": bus, "device": device, "function": function}
            samples.append(Sample({"card": name, **labels}, 1))
    text = "PCI address of each card, with the labels of node_pcidevice_info; always 1."
    return Family("nodedev_card", "info", text, tuple(samples))
