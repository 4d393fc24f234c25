"""The played mdev core: create and remove, with what a vendor driver answers.

Seen on Linux 6.1 and 6.12 with mtty, mdpy and mbochs: drivers/vfio/mdev/mdev_core.c, mdev_sysfs.c.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

from nodedevd.names import is_uuid
from tests.support.played_pools import Pool
from tests.support.trees import Tree

_CREATE = re.compile(r"(/sys/.+)/mdev_supported_types/([^/]+)/create")
_REMOVE = re.compile(r"(/sys/.+)/([^/]+)/remove")


@dataclass(frozen=True)
class Blocks:
    """A write that ends when nobody has the device open; what is done then."""

    device: str
    then: Callable[[], None]


@dataclass
class Parent:
    """An mdev parent: its driver, which function of a card it is, and what full means to it."""

    path: str
    driver: str
    pool: Pool
    types: tuple[str, ...]
    function: int = 0
    full: int = errno.ENOSPC
    """mdpy answers EUSERS"""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """what an mdev has besides power/control, by path"""
    accepts: Callable[[str, str], int | None] = lambda name, value: None
    """what the driver answers to a value of an attribute: None, or an errno"""


class MdevCore:
    """The parents and mdevs of a tree."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.parents: dict[str, Parent] = {}
        self.types: dict[str, str] = {}
        """the type of each mdev, by path; also of those that are being removed"""
        self._numbers = count(100)
        self._groups: dict[str, int] = {}

    def register(self, parent: Parent, names: Mapping[str, str], api: str = "vfio-pci") -> None:
        """Offer the types of a parent, whose device exists; names by id."""
        for type_id in parent.types:
            self.tree.mdev_type(parent.path, type_id, name=names.get(type_id), device_api=api)
        self.tree.mdev_parent(parent.path)
        self.parents[parent.path] = parent
        self.count_again()

    def unregister(self, path: str) -> None:
        """Unload the driver of a parent, with its mdevs."""
        for mdev in [one for one in self.types if os.path.dirname(one) == path]:
            self._gone(mdev)
        self.tree.remove(f"/sys/class/mdev_bus/{os.path.basename(path)}")
        self.tree.remove(f"{path}/mdev_supported_types")
        del self.parents[path]

    def write(self, path: str, value: str, is_open: Callable[[str], bool]) -> Blocks | None:
        """Do a write to `create`, `remove`, or an attribute of an mdev."""
        create, remove = _CREATE.fullmatch(path), _REMOVE.fullmatch(path)
        if create is not None:
            self._create(self.parents[create[1]], create[2], value)
        elif remove is not None:
            return self._remove(os.path.dirname(path), value, is_open)
        else:
            self._set(path, value)
        return None

    def mdev_of(self, path: str) -> str | None:
        """Return the mdev that an attribute belongs to."""
        return next((one for one in self.types if path.startswith(f"{one}/")), None)

    def count_again(self) -> None:
        """Write available_instances of all types of all parents."""
        for parent in self.parents.values():
            for type_id in parent.types:
                room = parent.pool.room(parent.function, type_id)
                where = f"{parent.path}/mdev_supported_types/{type_id}/available_instances"
                self.tree.file(where, f"{room}\n")

    def _create(self, parent: Parent, type_id: str, value: str) -> None:
        if not value:
            return
        if len(value) == 37 and value[-1] in "\n\0":
            value = value[:-1]
        if not is_uuid(value):
            raise OSError(errno.EINVAL, "create")
        uuid = value.lower()
        if any(os.path.basename(path) == uuid for path in self.types):
            raise OSError(errno.EEXIST, "create")
        mdev = f"{parent.path}/{uuid}"
        if not parent.pool.take(parent.function, type_id, mdev):
            raise OSError(parent.full, "create")
        number = self._groups[mdev] = next(self._numbers)
        self.types[mdev] = type_id
        self.tree.mdev(
            parent.path,
            uuid,
            type_id,
            driver=parent.driver,
            iommu_group=number,
            vfio=number,
            attributes={"power/control": "auto", **parent.attributes},
        )
        self.tree.vfio_group(number)
        self.count_again()

    def _remove(self, mdev: str, value: str, is_open: Callable[[str], bool]) -> Blocks | None:
        if not value:
            return None
        if not re.fullmatch(r"[0-9]+\n?", value):
            raise OSError(errno.EINVAL, "remove")
        if int(value) == 0:
            return None
        if is_open(mdev):
            self.tree.begin_removal(mdev)
            return Blocks(mdev, lambda: self._gone(mdev))
        self._gone(mdev)
        return None

    def _gone(self, mdev: str) -> None:
        uuid, number = os.path.basename(mdev), self._groups.pop(mdev)
        parent, type_id = self.parents[os.path.dirname(mdev)], self.types.pop(mdev)
        links = [
            f"/sys/bus/mdev/devices/{uuid}",
            f"/sys/bus/mdev/drivers/{parent.driver}/{uuid}",
            f"{parent.path}/mdev_supported_types/{type_id}/devices/{uuid}",
            f"/sys/class/vfio-dev/vfio{number}",
            f"/sys/class/vfio/{number}",
            f"/sys/devices/virtual/vfio/{number}",
            f"/sys/kernel/iommu_groups/{number}",
            mdev,
        ]
        for path in links:
            if os.path.lexists(self.tree.at(path)):
                self.tree.remove(path)
        parent.pool.release(mdev)
        self.count_again()

    def _set(self, path: str, value: str) -> None:
        mdev = self.mdev_of(path) or ""
        parent, name = self.parents[os.path.dirname(mdev)], path.removeprefix(f"{mdev}/")
        value = value.removesuffix("\n")
        if name == "power/control":
            if value not in ("auto", "on"):
                raise OSError(errno.EINVAL, name)
        elif name not in parent.attributes:
            raise OSError(errno.EIO, name)  # it has no `store`
        else:
            refused = parent.accepts(name, value)
            if refused is not None:
                raise OSError(refused, name)
        self.tree.file(path, f"{value}\n")
