"""Played functions with NVIDIA's vendor VFIO: a profile is written to current_vgpu_type.

Source: NVIDIA vGPU software user guide, "Creating an NVIDIA vGPU on a Linux with KVM Hypervisor
Host that Uses a Vendor-Specific VFIO Framework"; that an invalid id takes the present profile
away, and that a VM's profile cannot be cleared (EPERM), is what users report.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.support.played_pools import Pool
from tests.support.trees import Tree

CURRENT = "nvidia/current_vgpu_type"
_CREATABLE = "nvidia/creatable_vgpu_types"


@dataclass
class VendorFunction:
    """A function: its card's pool, its number on it, and the names of the types by id."""

    path: str
    pool: Pool
    number: int
    names: Mapping[str, str]
    current: str = "0"


class VendorVfio:
    """The functions of a tree that have the directory `nvidia`.

    Attributes:
        cards: pool and names of the types of each card, by the path of the physical function.
        functions: those that the driver has, by path.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.cards: dict[str, tuple[Pool, Mapping[str, str]]] = {}
        self.functions: dict[str, VendorFunction] = {}

    def probed(self, device: str) -> None:
        """Give a virtual function of a card its directory, as the driver that takes it does."""
        link = self.tree.at(f"{device}/physfn")
        if not os.path.islink(link):
            return
        card = os.path.normpath(os.path.join(device, os.readlink(link)))
        if card in self.cards:
            pool, names = self.cards[card]
            number = next(
                index
                for index in range(1 << 16)
                if os.path.realpath(self.tree.at(f"{card}/virtfn{index}"))
                == os.path.realpath(self.tree.at(device))
            )
            self.register(VendorFunction(device, pool, number, names))

    def removed(self, device: str) -> None:
        """Take it away with the driver."""
        if device in self.functions:
            self.unregister(device)

    def register(self, function: VendorFunction) -> None:
        """Give a function its directory."""
        self.functions[function.path] = function
        self.tree.file(f"{function.path}/nvidia/vgpu_params")
        self._show(function.pool)

    def unregister(self, path: str) -> None:
        """Take the driver's directory away, and with it the profile."""
        function = self.functions.pop(path)
        self._clear(function)
        self.tree.remove(f"{path}/nvidia")
        self._show(function.pool)

    def function_of(self, path: str) -> VendorFunction | None:
        """Return the function whose file it is."""
        return self.functions.get(path.rpartition("/nvidia/")[0])

    def write(self, path: str, value: str, is_open: Callable[[str], bool]) -> None:
        """Do a write to a file of the directory."""
        function = self.functions[path.rpartition("/nvidia/")[0]]
        value = value.removesuffix("\n")
        if path.endswith("/vgpu_params"):
            self.tree.file(path, f"{value}\n")
            return
        if not path.endswith(CURRENT):
            raise OSError(errno.EIO, path)
        if not value:
            return
        if function.current != "0" and is_open(function.path):
            raise OSError(errno.EPERM, path)
        creatable = self._creatable(function)
        self._clear(function)
        try:
            if value == "0":
                return
            # It is taken anew even where it was set: what is set is not listed as creatable.
            if value not in creatable:
                raise OSError(errno.EINVAL, path)
            if not function.pool.take(function.number, value, function.path):
                raise OSError(errno.ENOSPC, path)
            function.current = value
        finally:
            self._show(function.pool)

    def _creatable(self, function: VendorFunction) -> list[str]:
        """Return the types that fit; a function that has a profile lists none."""
        if function.current != "0":
            return []
        return [one for one in function.names if function.pool.room(function.number, one)]

    def _clear(self, function: VendorFunction) -> None:
        if function.current != "0":
            function.pool.release(function.path)
            function.current = "0"

    def _show(self, pool: Pool) -> None:
        """Write the files of all functions of a card: a vGPU changes the lists of the others."""
        for one in self.functions.values():
            if one.pool is pool:
                lines = [
                    f"{type_id:<6}: {one.names[type_id]}\n" for type_id in self._creatable(one)
                ]
                text = "".join(["ID    : vGPU Name\n", *lines])
                for name, content in ((CURRENT, f"{one.current}\n"), (_CREATABLE, text)):
                    where = f"{one.path}/{name}"
                    if not _has(self.tree, where, content):
                        self.tree.file(where, content)


def _has(tree: Tree, path: str, content: str) -> bool:
    if not os.path.exists(tree.at(path)):
        return False
    with open(tree.at(path), encoding="utf-8") as stream:
        return stream.read() == content
