"""A host that changes in the kernel's own small steps, also between two reads of one device.

Each operation is a generator: it makes one change of sysfs, or sends one uevent, up to each
`yield`. The order is that of Linux 6.1: device_add and device_del in drivers/base/core.c,
mdev_register_parent and mdev_device_remove_common in drivers/vfio/mdev/mdev_core.c.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TypeAlias

from nodedevd.host.events.uevent import Uevent
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.shared.mdevctl import DIRECTORY as DEFINITIONS
from tests.support.trees import Tree

Steps: TypeAlias = Iterator[None]

BRIDGE = "0000:00:01.0"
FUNCTIONS = ("0000:01:00.0", "0000:01:00.1")
UUIDS = tuple(f"27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c0{number}" for number in range(3))
_BRIDGE_PATH = f"/sys/devices/pci0000:00/{BRIDGE}"
PATHS = tuple(f"{_BRIDGE_PATH}/{address}" for address in FUNCTIONS)
CLASS_PARENT = "/sys/devices/virtual/mtty/mtty"
PARENTS = (CLASS_PARENT, *PATHS)


class KernelSteps:
    """A kernel, which sends uevents to a test.

    Attributes:
        uevents: those that the test has not taken yet.
        definitions_changed: whether inotify has reported mdevctl's directory.
    """

    def __init__(self, root: str) -> None:
        self.tree = Tree(root)
        self.uevents: list[Uevent] = []
        self.definitions_changed = False
        self._steps: Steps = iter(())
        for directory in ("/sys/bus", "/sys/class", DEFINITIONS):
            self.tree.directory(directory)

    def then(self, operation: Callable[[KernelSteps, int], Steps], number: int) -> None:
        """Have an operation follow those that are under way."""
        before = self._steps

        def both() -> Steps:
            yield from before
            yield from operation(self, number)

        self._steps = both()

    def step(self) -> bool:
        """Make one step; return whether there was one."""
        for _ in self._steps:
            return True
        return False

    # -- operations: one that is not possible now does nothing ---------------------------

    def plug(self, number: int) -> Steps:
        """Add a PCI function, with the bridge above it and an interface below."""
        address, path = FUNCTIONS[number % 2], PATHS[number % 2]
        if not self._is_there(_BRIDGE_PATH):
            self.tree.pci(BRIDGE, vendor=0x8086, device=1, class_=0x060400)
            yield from self._added(_BRIDGE_PATH, "bus/pci/devices", "pci")
        if not self._is_there(path):
            self.tree.pci(address, parent=BRIDGE, vendor=0x10DE, device=2, class_=0x030200)
            yield from self._added(path, "bus/pci/devices", "pci")
            net = self.tree.net(f"eth{number % 2}", parent=path)
            yield from self._added(net, "class/net", "net")

    def unplug(self, number: int) -> Steps:
        """Remove a PCI function, or the bridge with everything below it."""
        for index in (0, 1) if number % 3 == 2 else (number % 2,):
            path = PATHS[index]
            if self._is_there(path):
                yield from self.unregister(index + 1)
                yield from self._removed(f"{path}/net/eth{index}", "class/net", "net")
                yield from self._removed(path, "bus/pci/devices", "pci")
        if number % 3 == 2 and self._is_there(_BRIDGE_PATH):
            yield from self._removed(_BRIDGE_PATH, "bus/pci/devices", "pci")

    def load(self, number: int) -> Steps:
        """Load a module that makes a parent of a class which no kind knows."""
        if not self._is_there(CLASS_PARENT):
            self.tree.device(CLASS_PARENT, class_="mtty")
            yield from self._added(CLASS_PARENT, "class/mtty", "mtty")
        yield from self.register(0)

    def unload(self, number: int) -> Steps:
        """Unload it."""
        if self._is_there(CLASS_PARENT):
            yield from self.unregister(0)
            yield from self._removed(CLASS_PARENT, "class/mtty", "mtty")

    def register(self, number: int) -> Steps:
        """Make a device an mdev parent."""
        path = PARENTS[number % 3]
        if not self._is_there(path) or self._is_there(f"{path}/mdev_supported_types"):
            return
        self.tree.mdev_type(path, "type-0", available=8)
        yield
        self.tree.mdev_parent(path)
        yield
        yield from self._uevent("change", path)

    def unregister(self, number: int) -> Steps:
        """Take from a parent its mdevs, then its types."""
        path = PARENTS[number % 3]
        if not self._is_there(f"{path}/mdev_supported_types"):
            return
        self.tree.remove(f"/sys/class/mdev_bus/{path.rpartition('/')[2]}")
        yield
        for uuid in UUIDS:
            yield from self._destroy(f"{path}/{uuid}")
        self.tree.remove(f"{path}/mdev_supported_types")
        yield
        yield from self._uevent("change", path)

    def create(self, number: int) -> Steps:
        """Make an mdev."""
        parent, uuid = PARENTS[number % 3], UUIDS[number // 3 % 3]
        in_use = any(self._is_there(f"{one}/{uuid}") for one in PARENTS)
        if in_use or not self._is_there(f"{parent}/mdev_supported_types"):
            return
        path = self.tree.mdev(parent, uuid, None)
        self.tree.remove(f"{path}/remove")
        yield from self._added(path, "bus/mdev/devices", "mdev")
        self.tree.kernel_link(f"{path}/driver", "/sys/bus/mdev/drivers/mtty")
        yield
        yield from self._uevent("bind", path)
        kind = f"{parent}/mdev_supported_types/type-0"
        self.tree.file(f"{path}/remove")
        yield
        self.tree.kernel_link(f"{kind}/devices/{uuid}", path)
        self.tree.kernel_link(f"{path}/mdev_type", kind)
        yield

    def destroy(self, number: int) -> Steps:
        """Remove an mdev."""
        for parent in PARENTS:
            yield from self._destroy(f"{parent}/{UUIDS[number % 3]}")

    def define(self, number: int) -> Steps:
        """Define an mdev, or remove its definition."""
        parent, uuid = PARENTS[number % 3].rpartition("/")[2], UUIDS[number // 3 % 3]
        file = f"{DEFINITIONS}/{parent}/{uuid}"
        if os.path.exists(self.tree.at(file)):
            self.tree.remove(file)
        else:
            self.tree.definition(parent, uuid, "type-0")
        yield
        self.definitions_changed = True
        yield

    # -- what they are made of -----------------------------------------------------------

    def _destroy(self, path: str) -> Steps:
        if not self._is_there(path):
            return
        parent, _, uuid = path.rpartition("/")
        self.tree.remove(f"{path}/mdev_type")
        self.tree.remove(f"{parent}/mdev_supported_types/type-0/devices/{uuid}")
        yield
        self.tree.remove(f"{path}/remove")
        yield
        self.tree.remove(f"{path}/driver")
        yield
        yield from self._uevent("unbind", path)
        yield from self._removed(path, "bus/mdev/devices", "mdev")

    def _added(self, path: str, listed_in: str, subsystem: str) -> Steps:
        """List a device whose directory has just been made."""
        link = f"/sys/{listed_in}/{path.rpartition('/')[2]}"
        self.tree.remove(link)
        yield
        self.tree.kernel_link(link, path)
        yield
        yield from self._uevent("add", path, subsystem)

    def _removed(self, path: str, listed_in: str, subsystem: str) -> Steps:
        self.tree.remove(f"/sys/{listed_in}/{path.rpartition('/')[2]}")
        yield
        yield from self._uevent("remove", path, subsystem)
        self.tree.remove(path)
        yield

    def _uevent(self, action: str, path: str, subsystem: str | None = None) -> Steps:
        if subsystem is None:
            subsystem = os.readlink(self.tree.at(f"{path}/subsystem")).rpartition("/")[2]
        self.uevents.append(Uevent(action, path, subsystem))
        yield

    def _is_there(self, path: str) -> bool:
        return os.path.isdir(self.tree.at(path))


OPERATIONS: tuple[Callable[[KernelSteps, int], Steps], ...] = (
    KernelSteps.plug,
    KernelSteps.unplug,
    KernelSteps.load,
    KernelSteps.unload,
    KernelSteps.register,
    KernelSteps.unregister,
    KernelSteps.create,
    KernelSteps.destroy,
    KernelSteps.define,
)


class ChangingSysroot(Sysroot):
    """A sysroot of a host that changes before some of its system calls."""

    def __init__(self, root: str, before_each: Callable[[], None]) -> None:
        super().__init__(root)
        listdir, readlink, lstat, read = self._listdir, self._readlink, self._lstat, self._read

        def changing_listdir(path: str) -> list[str]:
            before_each()
            return listdir(path)

        def changing_readlink(path: str) -> str:
            before_each()
            return readlink(path)

        def changing_lstat(path: str) -> os.stat_result:
            before_each()
            return lstat(path)

        def changing_read(path: str, size: int | None) -> bytes:
            before_each()
            return read(path, size)

        self._listdir, self._readlink = changing_listdir, changing_readlink
        self._lstat, self._read = changing_lstat, changing_read
