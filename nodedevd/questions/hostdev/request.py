"""request: what a client asks of hostdev, and the answer."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

import msgspec

from nodedevd.errors import InvalidParameter
from nodedevd.kinds.shared.ccw import CcwAddress, parse_ccw
from nodedevd.names import PciAddress, is_uuid, parse_mdev_name, parse_pci

Model: TypeAlias = Literal["vfio-pci", "vfio-ccw", "vfio-ap"]
"""A device_api that libvirt has a model for."""
MODELS: tuple[Model, ...] = get_args(Model)

BOOT_ORDER_LIMIT = 2**31 - 1
"""QEMU's bootindex is a signed 32-bit number."""
_CSSID_LIMIT = 0xFE  # libvirt and QEMU refuse 0xff


class HostDevRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A device to assign, with options; None stands for the default."""

    name: str
    """any name of a device; with `not_created`, a UUID"""
    model: Model | None = None
    """mdevs: the expected device_api"""
    managed: bool | None = None
    """PCI functions: whether libvirt binds the function to vfio-pci, and back afterwards"""
    display: bool | None = None
    ramfb: bool | None = None
    iommufd: bool | None = None
    """PCI functions: whether QEMU uses the function by iommufd instead of a VFIO group"""
    boot_order: Annotated[int, msgspec.Meta(ge=1, le=BOOT_ORDER_LIMIT)] | None = None
    address: str | None = None
    """in the guest, for example pci:0000:05:00.0 or ccw:fe.0.0001"""
    not_created: bool | None = None
    """whether `name` is the UUID of an mdev that does not exist yet"""
    type: str | None = None
    """with `not_created` or `managed_by_hook`: id or name of the type"""
    arch: str | None = None
    """with `not_created`: architecture of the host, as uname(2) names it; None is this host's"""
    managed_by_hook: bool | None = None
    """whether the hook for libvirt makes the vGPU when the guest starts, and removes it at its
    end; `name` is then the UUID of an mdev, or a function with vendor VFIO"""
    places: list[str] | None = None
    """with `managed_by_hook`: the parents, functions or cards that the mdev may come from"""

    @property
    def is_uuid(self) -> bool:
        """Whether `name` is the UUID of an mdev that need not exist."""
        mdev = parse_mdev_name(self.name) if self.managed_by_hook else None
        return bool(self.not_created or mdev or (self.managed_by_hook and is_uuid(self.name)))


class HostDev(msgspec.Struct, frozen=True):
    """The `<hostdev>` of one device, at one generation of the tree."""

    generation: int
    type: Literal["mdev", "pci"] = msgspec.field(name="subsystem")
    model: Model | None
    """None for a PCI function"""
    open: Literal["yes", "no", "unknown"]
    """whether a process has the device open already"""
    xml: str
    notes: tuple[str, ...]
    """sentences: guesses, what else the guest needs, and what this host loses"""
    metadata: str | None = None
    """with `managed_by_hook`: the element for the `<metadata>` of the domain"""


def parse_address(text: str) -> PciAddress | CcwAddress:
    """Parse an address in the guest: `pci:dddd:bb:ss.f` or `ccw:cssid.ssid.devno`.

    Raises InvalidParameter.
    """
    bus, _, rest = text.partition(":")
    pci = parse_pci(rest) if bus == "pci" else None
    if pci is not None:
        if pci[:3] == (0, 0, 0):
            # libvirt takes this for "no address", for any function number.
            raise InvalidParameter(
                "address", f"{text!r}: slot 0 of bus 0 is the guest's host bridge; choose another"
            )
        return pci
    ccw = parse_ccw(rest.lower()) if bus == "ccw" else None
    if ccw is not None and ccw.cssid <= _CSSID_LIMIT:
        return ccw
    raise InvalidParameter(
        "address", f"{text!r} is no address; give one like pci:0000:05:00.0 or ccw:fe.0.0001"
    )


def parse_new_mdev(name: str) -> str:
    """Return the UUID in the name of an mdev that does not exist yet. Raises InvalidParameter."""
    if is_uuid(name):
        return name.lower()
    mdev = parse_mdev_name(name)
    if mdev is None:
        raise InvalidParameter(
            "name", f"{name!r} is no UUID; give the UUID that the mdev will be created with"
        )
    if mdev.parent is not None:
        raise InvalidParameter("name", f"{name!r} has a parent; give its UUID alone: {mdev.uuid}")
    return mdev.uuid
