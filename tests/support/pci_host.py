"""A played host with PCI functions, whose plans are made and carried out one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from nodedevd.actions.bind import plan as plan_bind
from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.functions import DRIVERS, attributes_for
from nodedevd.actions.ownership import Record
from nodedevd.actions.plan import Plan, Step
from nodedevd.actions.requests import Bind, SetVirtualFunctions, Unbind
from nodedevd.actions.set_virtual_functions import plan as plan_number
from nodedevd.actions.unbind import plan as plan_unbind
from nodedevd.control.steps import HANDLERS
from nodedevd.control.steps.base import AlreadySo, InUseNow, Ran, StepHost
from nodedevd.host.assignment import read_assignment_facts
from nodedevd.host.processes import OpenFiles, Process, ProcessScan
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.read import scan
from tests.support.played_kernel import PlayedKernel
from tests.support.played_pci import Driver, Sriov
from tests.support.trees import Tree

VENDOR, NVME, NVME_VF = 0x1B36, 0x0010, 0x0011
NVME_CLASS, ETHERNET, AUDIO = 0x010802, 0x020000, 0x040300
PF = "0000:01:00.0"
SRIOV_MANAGE = "/usr/lib/nvidia/sriov-manage"

PciRequest = SetVirtualFunctions | Bind | Unbind


@dataclass
class PciHost:
    """A played host; nothing of it is mounted, and nothing has an address."""

    tree: Tree
    records: dict[str, Record] = field(default_factory=dict)
    forced: bool = False
    unseen: int = 0
    """processes that cannot be looked into"""
    nodes_open: dict[str, str] = field(default_factory=dict)
    """the process that has the node of a device open, by the path of the device"""
    sriov_manage: Callable[[Sequence[str]], Ran] | None = None
    """plays NVIDIA's program; None: it is not installed"""

    def __post_init__(self) -> None:
        self.kernel = PlayedKernel(self.tree)
        self.tree.file("/proc/self/mountinfo")
        self.tree.file("/proc/swaps", "Filename Type Size Used Priority\n")
        self.tree.file("/proc/net/route", "Iface Destination Gateway\n")
        self.tree.file("/proc/net/if_inet6")

    # -- hardware ----------------------------------------------------------------------

    def driver(self, name: str, *ids: int) -> None:
        """Load a driver for devices of VENDOR."""
        self.kernel.pci.driver(Driver(name, frozenset((VENDOR, one) for one in ids)))

    def function(
        self,
        address: str,
        *,
        device: int = NVME,
        class_: int = NVME_CLASS,
        driver: str | None = None,
        group: int | None = None,
    ) -> str:
        """Add a function, and return its path."""
        path = self.tree.pci(
            address, vendor=VENDOR, device=device, class_=class_, driver=driver, iommu_group=group
        )
        self.kernel.pci.overridable(path)
        return path

    def card(self, number: int = 0, total: int = 4) -> str:
        """Add an NVMe disk with so many virtual functions enabled; return its path."""
        self.driver("nvme", NVME, NVME_VF)
        path = self.function(PF, driver="nvme", group=1)
        self.kernel.pci.card(Sriov(path, total, (VENDOR, NVME_VF), NVME_CLASS, first_group=10))
        if number:
            self.kernel.write(f"{path}/sriov_numvfs", str(number))
        return path

    def functions(self, card: str) -> list[str]:
        """Return the paths of a card's virtual functions."""
        return list(self.kernel.pci.sriov[card].functions)

    # -- what it shows -----------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Scan it."""
        return scan(Sysroot(self.tree.root))

    def text(self, path: str) -> str:
        """Read an attribute."""
        with open(self.tree.at(path), encoding="utf-8") as stream:
            return stream.read().strip()

    def driver_of(self, path: str) -> str | None:
        """Return the name of a function's driver."""
        return self.kernel.pci.bound(path)

    def facts(self, snapshot: Snapshot, request: PciRequest) -> ActionFacts:
        """Read what a plan is made from."""
        paths = list(attributes_for(snapshot, request))
        return ActionFacts(
            usage=self.kernel.usage(unseen=self.unseen),
            assignment=read_assignment_facts(Sysroot(self.tree.root)),
            records=self.records,
            attributes={
                path: self.text(path) for path in paths if os.path.exists(self.tree.at(path))
            },
            open_nodes=ProcessScan(
                tuple(
                    OpenFiles(Process(4711, name), frozenset({path}), frozenset(), 0)
                    for path, name in self.nodes_open.items()
                ),
                self.unseen,
                hidden=False,
            ),
            drivers=frozenset(os.listdir(self.tree.at(DRIVERS))),
            sriov_manage=None if self.sriov_manage is None else SRIOV_MANAGE,
            now="2026-11-28T20:00:00Z",
        )

    # -- actions -----------------------------------------------------------------------

    def plan(self, request: PciRequest) -> Plan:
        """Return the plan of a request."""
        snapshot = self.snapshot()
        facts = self.facts(snapshot, request)
        if isinstance(request, SetVirtualFunctions):
            return plan_number(snapshot, facts, request)
        if isinstance(request, Bind):
            return plan_bind(snapshot, facts, request)
        return plan_unbind(snapshot, facts, request)

    @property
    def step_host(self) -> StepHost:
        """What steps change."""
        return StepHost(
            Sysroot(self.tree.root),
            write_file=self.kernel.write,
            run_program=self._run,
            pause=lambda seconds: None,
            forced=self.forced,
            kept_closed=self._kept_closed,
        )

    def do(self, steps: Sequence[Step]) -> None:
        """Take steps, and undo them in reverse order if one fails."""
        done: list[Step] = []
        for step in steps:
            try:
                HANDLERS[type(step)].do(step, self.step_host)
            except AlreadySo:
                continue
            except BaseException:
                self.undo(done)
                raise
            done.append(step)

    def undo(self, steps: Sequence[Step]) -> None:
        """Undo steps, the last one first."""
        for step in reversed(steps):
            HANDLERS[type(step)].undo(step, self.step_host)

    def carry_out(self, request: PciRequest) -> Plan:
        """Plan a request, take its steps, check what the plan expects, and keep its records."""
        plan = self.plan(request)
        self.do(plan.steps)
        snapshot = self.snapshot()
        assert all(one.met(snapshot) for one in plan.expected), plan.expected
        for subject in plan.forgotten:
            self.records.pop(subject, None)
        self.records |= {one.subject: one for one in plan.records}
        return plan

    def _run(self, argv: Sequence[str], *, stdin: bytes, timeout: float | None) -> Ran:
        assert self.sriov_manage is not None
        return self.sriov_manage(argv)

    @contextmanager
    def _kept_closed(self, path: str) -> Iterator[None]:
        if self.kernel.is_open(path):
            raise InUseNow(path, "a process has it open")
        yield


def state_of(host: PciHost) -> Mapping[str, str | None]:
    """Return the driver and the driver_override of each function of a host."""
    found: dict[str, str | None] = {}
    for device in host.snapshot().select(["pci"]):
        path = device.path or ""
        found[path] = device.driver
        found[f"{path}/driver_override"] = host.text(f"{path}/driver_override")
    return found
