"""definable: which parent and type a definition may have.

mdevctl checks neither: it stores a parent and a type that are absent, and writes outside its
directory for a parent that is a path.
"""

from __future__ import annotations

from typing import NamedTuple

from nodedevd.actions.named import parent_named
from nodedevd.errors import InvalidParameter, NoSuchType, NotPossible
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.shared.mdevctl import is_parent_name
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import device_name, is_file_name
from nodedevd.questions.vgpus import find_type, vgpu_functions


class Parent(NamedTuple):
    """The parent of a definition, which may be absent."""

    name: str
    """kernel name"""
    device: Device | None


def parent_for(snapshot: Snapshot, name: str) -> Parent:
    """Return the parent of any name; one that is absent goes by its kernel name.

    Raises InvalidParameter for a text that is no kernel name.
    """
    device = parent_named(snapshot, name)
    kernel_name = name if device is None else device.sysname or ""
    if not is_parent_name(kernel_name):
        raise InvalidParameter("parent", f"{name!r} is no kernel name of a device")
    return Parent(kernel_name, device)


def type_for(parent: Parent, wanted: str, *, force: bool) -> str:
    """Return the id of a type, given by id or name; whatever is given if the parent is absent.

    Raises NoSuchType if the parent offers only others, unless forced; NotPossible if its vGPUs
    are no mdevs, or several types have the name; InvalidParameter for a text that is no id.
    """
    device = parent.device
    if device is not None and device.capability(Vgpu) is not None:
        raise NotPossible(
            device.name,
            "no-mdev-parent",
            "its vGPUs are no mdevs, so mdevctl cannot define them; use create",
        )
    offers = None if device is None else device.capability(MdevParent)
    if device is not None and offers is not None and offers.types:
        try:
            found = {one.id for one in find_type(vgpu_functions([device]), wanted)}
        except NoSuchType:
            if not force:
                raise
            found = set()
        if len(found) > 1:
            ids = ", ".join(sorted(found))
            raise NotPossible(wanted, "several-types", f"it can mean {ids}; give one of these")
        wanted = next(iter(found), wanted)
    if not is_file_name(wanted):
        raise InvalidParameter("type", f"{wanted!r} is no id of a type")
    return wanted


def lock_of(parent: str) -> str:
    """Return what is locked while definitions for a parent change.

    It is not the card: a definition changes no device, and can be written while a driver hangs.
    """
    return device_name("mdevctl", parent)
