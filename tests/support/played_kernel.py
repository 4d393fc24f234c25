"""A played kernel: it does what writes to sysfs do, to the files of a `Tree`.

    kernel = PlayedKernel(Tree(directory))
    mtty = mtty_parent(kernel)
    kernel.write(f"{mtty}/mdev_supported_types/mtty-1/create", uuid)   # or OSError

A write that waits for the users of a device blocks its caller until `close`; `begin` starts one
without waiting. Errors, waits and other writers in between can be injected for one path.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping

from nodedevd.host.processes import OpenFiles, Process, ProcessScan
from nodedevd.questions.in_use import VfioUsage
from tests.support.played_card import PlayedCard, PlayedType, TimeSliced
from tests.support.played_mdev import Blocks, MdevCore, Parent
from tests.support.played_pci import Driver, PciCore, Sriov
from tests.support.played_pools import CardMemory, Slots
from tests.support.played_vendor import VendorVfio
from tests.support.trees import Tree

_PCI_FILES = frozenset(
    {"sriov_numvfs", "sriov_drivers_autoprobe", "driver_override", "drivers_probe", "bind"}
    | {"unbind"}
)


class Pending:
    """A write that has begun."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._error: OSError | None = None

    @property
    def ended(self) -> bool:
        """Whether the driver has answered."""
        return self._ended.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the answer; return whether it came. Raises OSError, the driver's refusal."""
        if not self._ended.wait(seconds):
            return False
        if self._error is not None:
            raise self._error
        return True

    def end(self, error: OSError | None = None) -> None:
        """Answer."""
        self._error = error
        self._ended.set()


class PlayedKernel:
    """The writable files of a tree, and who has its devices open.

    Attributes:
        written: all writes that reached the kernel, refused ones included, in order.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.mdev, self.vendor, self.pci = MdevCore(tree), VendorVfio(tree), PciCore(tree)
        self.written: list[tuple[str, str]] = []
        self._open: dict[str, list[Process]] = defaultdict(list)
        self._lock = threading.RLock()
        self._refusals: dict[str, list[int]] = defaultdict(list)
        self._before: dict[str, list[Callable[[], None]]] = defaultdict(list)
        self._hanging: dict[str, list[tuple[str, Pending]]] = {}
        self._blocked: list[tuple[Blocks, Pending]] = []

    # -- writes ----------------------------------------------------------------------------

    def write(self, path: str, value: str) -> None:
        """Write a value to a file, and wait for the answer of the driver.

        Raises OSError with the errno of open(2) or write(2).
        """
        self.begin(path, value).wait()

    def begin(self, path: str, value: str) -> Pending:
        """Begin a write. Raises OSError if open(2) fails, which never blocks."""
        for act in self._before.pop(path, ()):
            act()
        with self._lock:
            if not os.path.exists(self.tree.at(path)):
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            self.written.append((path, value))
            pending = Pending()
            if path in self._hanging:
                self._hanging[path].append((value, pending))
            else:
                self._do(path, value, pending)
            return pending

    def _do(self, path: str, value: str, pending: Pending) -> None:
        try:
            if self._refusals[path]:
                number = self._refusals[path].pop(0)
                raise OSError(number, os.strerror(number), path)
            blocks = self._dispatch(path, value)
        except OSError as error:
            pending.end(error)
            return
        if blocks is None:
            pending.end()
        else:
            self._blocked.append((blocks, pending))

    def _dispatch(self, path: str, value: str) -> Blocks | None:
        if not os.path.exists(self.tree.at(path)):  # it went while the write hung
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), path)
        if self.vendor.function_of(path) is not None:
            self.vendor.write(path, value, self.is_open)
            return None
        if path.endswith("/create") or self.mdev.mdev_of(path) is not None:
            return self.mdev.write(path, value, self.is_open)
        if os.path.basename(path) in _PCI_FILES:
            return self.pci.write(path, value, self.is_open)
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)  # an attribute without `store`

    # -- who has devices open --------------------------------------------------------------

    def open(self, device: str, pid: int = 4711, name: str = "qemu-system-x86") -> None:
        """Have a process open a device, by sysfs path, as a VM does."""
        with self._lock:
            self._open[device].append(Process(pid, name))

    def close(self, device: str) -> None:
        """Have all processes close it; writes that waited for this end."""
        with self._lock:
            self._open.pop(device, None)
            ended = [one for one in self._blocked if one[0].device == device]
            self._blocked = [one for one in self._blocked if one[0].device != device]
            for blocks, pending in ended:
                blocks.then()
                pending.end()

    def is_open(self, device: str) -> bool:
        """Return whether a process has the device open."""
        return bool(self._open.get(device))

    def usage(self, *, unseen: int = 0) -> VfioUsage:
        """Return what a look at all processes finds; `unseen` of them cannot be looked into."""
        nodes = {}
        for path in (*self.mdev.types, *self._bound_to_vfio(), *self.vendor.functions):
            nodes[f"/dev/vfio/{os.path.basename(path)}"] = [path]
        files = [
            OpenFiles(process, frozenset(), frozenset({device}), 0)
            for device, processes in self._open.items()
            for process in processes
        ]
        return VfioUsage(nodes, ProcessScan(tuple(files), unseen, hidden=False))

    def _bound_to_vfio(self) -> list[str]:
        directory = self.tree.at("/sys/bus/pci/drivers/vfio-pci")
        return [self.tree.resolve(one) for one in os.listdir(directory) if ":" in one]

    # -- what can be injected --------------------------------------------------------------

    def refuse(self, path: str, *numbers: int) -> None:
        """Answer the next writes to a path with these errnos."""
        self._refusals[path] += numbers

    def before(self, path: str, act: Callable[[], None]) -> None:
        """Do something before the next write to a path, as another writer that comes first."""
        self._before[path].append(act)

    def hang(self, path: str) -> None:
        """Do not answer writes to a path, nor do what they ask for, until `resume`."""
        self._hanging[path] = []

    def resume(self, path: str) -> None:
        """Do the writes that hang, and answer them."""
        with self._lock:
            for value, pending in self._hanging.pop(path):
                self._do(path, value, pending)


# -- hosts ---------------------------------------------------------------------------------------


def mtty_parent(kernel: PlayedKernel, ports: int = 24, name: str = "mtty") -> str:
    """Make a parent of mtty, whose types take one port or two; return its path."""
    slots = Slots(ports, {"mtty-1": 1, "mtty-2": 2})
    names = {"mtty-1": "Single port serial", "mtty-2": "Dual port serial"}
    return _sample(kernel, "mtty", slots, names, errno.ENOSPC, name)


def mdpy_parent(kernel: PlayedKernel, displays: int = 4) -> str:
    """Load mdpy, which has so many displays of all types together, and says EUSERS when full."""
    slots = Slots(displays, dict.fromkeys(("mdpy-vga", "mdpy-xga", "mdpy-hd"), 1))
    return _sample(kernel, "mdpy", slots, {}, errno.EUSERS)


def mbochs_parent(kernel: PlayedKernel, mib: int = 256) -> str:
    """Load mbochs, whose types take memory."""
    slots = Slots(mib, {"mbochs-small": 4, "mbochs-medium": 16, "mbochs-large": 64})
    return _sample(kernel, "mbochs", slots, {}, errno.ENOSPC)


def _sample(
    kernel: PlayedKernel,
    driver: str,
    slots: Slots,
    names: Mapping[str, str],
    full: int,
    name: str | None = None,
) -> str:
    path = kernel.tree.device(f"/sys/devices/virtual/{driver}/{name or driver}", class_=driver)
    parent = Parent(path, driver, slots, tuple(slots.costs), full=full)
    kernel.mdev.register(parent, names)
    return path


NVIDIA, A40, L40S = 0x10DE, 0x2235, 0x26B9


def small_card(functions: int = 4, each: int = 1) -> TimeSliced:
    """Return a card of 48 GiB with three types, which must have equal sizes."""
    types = [PlayedType(f"{size}Q", size, 48 // size) for size in (4, 12, 24)]
    return TimeSliced(types, functions, each, memory=48)


def vendor_card(
    kernel: PlayedKernel, card: PlayedCard, address: str = "0000:41:00.0", *, enabled: bool = True
) -> list[str]:
    """Make a card of NVIDIA with vendor VFIO; return the paths of its virtual functions.

    The ids of its types are 1, 2, ... in their order. Without `enabled` it has no functions until
    a number is written to sriov_numvfs.
    """
    driver = Driver(
        "nvidia", frozenset({(NVIDIA, L40S)}), kernel.vendor.probed, kernel.vendor.removed
    )
    sriov = _nvidia_card(kernel, card, address, L40S, driver)
    ids = {str(number): one for number, one in enumerate(card.types, 1)}
    kernel.vendor.cards[sriov.path] = CardMemory(card, ids), _names(ids)
    if enabled:
        kernel.write(f"{sriov.path}/sriov_numvfs", str(card.functions))
    return list(sriov.functions)


def mdev_card(kernel: PlayedKernel, card: PlayedCard, address: str = "0000:08:00.0") -> list[str]:
    """Make a card of NVIDIA whose virtual functions are mdev parents; return their paths.

    The ids of its types are nvidia-0, nvidia-1, ...; an mdev has nvidia/vgpu_params.
    """
    driver = Driver("nvidia-a40", frozenset({(NVIDIA, A40)}))
    sriov = _nvidia_card(kernel, card, address, A40, driver)
    kernel.write(f"{sriov.path}/sriov_numvfs", str(card.functions))
    ids = {f"nvidia-{number}": one for number, one in enumerate(card.types)}
    pool = CardMemory(card, ids)
    for number, function in enumerate(sriov.functions):
        parent = Parent(
            function,
            "nvidia-vgpu-vfio",
            pool,
            tuple(ids),
            number,
            attributes={"nvidia/vgpu_params": ""},
        )
        kernel.mdev.register(parent, _names(ids))
    return list(sriov.functions)


def _nvidia_card(
    kernel: PlayedKernel, card: PlayedCard, address: str, device: int, driver: Driver
) -> Sriov:
    kernel.pci.driver(driver)
    path = kernel.tree.pci(
        address, vendor=NVIDIA, device=device, class_=0x030200, driver=driver.name
    )
    bus = int(address.split(":")[1], 16)
    sriov = Sriov(path, card.functions, (NVIDIA, device), 0x030200, first_group=(bus + 4) << 8)
    kernel.pci.card(sriov)
    return sriov


def _names(ids: Mapping[str, PlayedType]) -> dict[str, str]:
    return {type_id: f"NVIDIA X1-{one.name}" for type_id, one in ids.items()}
