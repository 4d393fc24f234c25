"""Embedded: the devices of a sysroot, scanned in this process, without a daemon."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

import msgspec

from nodedevd.cli.hanging import report_hanging
from nodedevd.follow.in_time import read_in_time, scan_in_time
from nodedevd.host.sysroot import Progress, Sysroot
from nodedevd.model.brief import DeviceList
from nodedevd.model.device import Device
from nodedevd.model.listing import Devices, XmlDocument, entry
from nodedevd.model.status import Followed, ScanTimes, Status, build_status, now

if TYPE_CHECKING:
    # What answers a question is loaded when it is asked.
    from nodedevd.drawing.request import Drawing, DrawRequest
    from nodedevd.formats import Format
    from nodedevd.questions.fits import Fits, Types
    from nodedevd.questions.hostdev.request import HostDev, HostDevRequest
    from nodedevd.questions.in_use import InUse, VfioUsage
    from nodedevd.questions.resolve import Resolution

T = TypeVar("T")


class Embedded:
    """Scans the sysroot once, in its constructor, and answers from that scan.

    What hangs is left out, and printed to standard error.

    Args:
        root: The sysroot.
        progress: Called with a short description of each slow task; returns a callback that
            reports how far the task is, or None.

    Raises NotASysroot, TooManyHang.
    """

    def __init__(
        self, root: str, *, progress: Callable[[str], Progress | None] = lambda what: None
    ) -> None:
        self._progress = progress
        self._sysroot = sysroot = Sysroot(root)
        self._started = now()
        start = time.monotonic()
        self.tree, self._unanswered = scan_in_time(sysroot, progress=progress("reading devices"))
        report_hanging(self._unanswered)
        self._times = ScanTimes(finished=now(), seconds=round(time.monotonic() - start, 6))

    def status(self) -> Status:
        """Return the counts and the read errors of the scan."""
        return build_status(
            self.tree,
            sysroot=self._sysroot.root,
            started=self._started,
            last_scan=self._times,
            followed=Followed(unanswered_reads=self._unanswered),
        )

    def list(self, capabilities: Iterable[str] | None = None) -> DeviceList:
        """Return the devices with any of the capabilities, in brief; all without a filter."""
        found = self.tree.select(capabilities)
        return DeviceList(self.tree.generation, tuple([entry(device) for device in found]))

    def snapshot(self, capabilities: Iterable[str] | None = None) -> Devices:
        """Return the devices with any of the capabilities, with all their properties."""
        return Devices(self.tree.generation, tuple(self.tree.select(capabilities)))

    def describe(self, name: str) -> Device:
        """Return one device with all its properties. Raises NoSuchDevice."""
        return self.tree.lookup(name)

    def snapshot_json(self, names: Sequence[str] | None = None) -> bytes:
        """Return the named devices, or all, as one JSON document. Raises NoSuchDevice."""
        if names is None:
            return msgspec.json.encode(self.snapshot())
        named = dict.fromkeys(map(self.tree.lookup, names))
        return msgspec.json.encode(Devices(self.tree.generation, tuple(named)))

    def dump_xml(self, names: Sequence[str] | None = None, *, form: Format = "nodedevd") -> str:
        """Return the XML of the named devices, or of all. Raises NoSuchDevice, NotInFormat."""
        from nodedevd.formats import dump

        return dump(self.tree, names, form)

    def xml_document(
        self, names: Sequence[str] | None = None, *, form: Format = "nodedevd"
    ) -> XmlDocument:
        """Return the same with its generation. Raises NoSuchDevice, NotInFormat."""
        return XmlDocument(self.tree.generation, self.dump_xml(names, form=form))

    def hostdev(self, request: HostDevRequest) -> HostDev:
        """Return the domain XML that assigns a device to a guest.

        Raises NoSuchDevice, NoSuchType, NotAssignable, DoesNotFit, InvalidParameter.
        """
        from nodedevd.host.assignment import read_assignment_facts
        from nodedevd.questions.hostdev.answer import hostdev
        from nodedevd.questions.hostdev.facts import HostDevFacts, needs_host

        facts = HostDevFacts(machine=os.uname().machine)
        if not request.is_uuid:
            facts = msgspec.structs.replace(facts, usage=self._look())
            if needs_host(self.tree.lookup(request.name)):
                facts = msgspec.structs.replace(facts, host=self._read(read_assignment_facts))
        return hostdev(self.tree, request, facts)

    def draw(self, request: DrawRequest | None = None) -> Drawing:
        """Return a picture of the host, or of one of its cards, as SVG. Raises NoSuchDevice."""
        # The checks of doctor are many modules.
        from nodedevd.cli.picture import picture_of
        from nodedevd.drawing.request import DrawRequest
        from nodedevd.drawing.words import title_of
        from nodedevd.host.facts import read_host

        facts = self._read(read_host)
        usage = self._look()
        return picture_of(
            self.tree,
            request or DrawRequest(),
            title=title_of(self._sysroot.root, os.uname().nodename),
            facts=facts,
            usage=usage,
            hanging=self._unanswered,
        )

    def types(self, names: Iterable[str] | None = None) -> Types:
        """Return the room of each card for each of its vGPU types. Raises NoSuchDevice."""
        from nodedevd.questions.fits import types

        return types(self.tree, names)

    def fits(
        self, wanted: str | None = None, count: int = 1, *, names: Iterable[str] | None = None
    ) -> Fits:
        """Return the cards that have room for vGPUs of a type. Raises NoSuchType, NoSuchDevice."""
        from nodedevd.questions.fits import fits

        return fits(self.tree, wanted, count, names)

    def resolve(self, text: str) -> Resolution:
        """Return the devices that another tool's identifier refers to. Raises NoSuchDevice."""
        from nodedevd.host.device_nodes import DeviceNodes, read_device_nodes
        from nodedevd.questions.resolve import find_in_steps, needs_nodes, resolve
        from nodedevd.steps import finish

        nodes = DeviceNodes()
        if needs_nodes(finish(find_in_steps(self.tree, text)), text):
            nodes = self._read(read_device_nodes)
        return resolve(self.tree, text, nodes)

    def in_use(self, names: Sequence[str] | None = None) -> InUse:
        """Return whether the named devices are open. Raises NoSuchDevice.

        Without names: all mdevs and all devices that are bound to VFIO.
        """
        named = None if names is None else dict.fromkeys(map(self.tree.lookup, names))
        return self._look().of(self.tree, named)

    def _read(self, read: Callable[[Sysroot], T]) -> T:
        """Read what a scan does not."""
        result, unanswered = read_in_time(self._sysroot, read)
        report_hanging(unanswered)
        return result

    def _look(self) -> VfioUsage:
        """Look at the processes of the host. Raises OSError."""
        from nodedevd.follow.shared_look import look_in_time  # asyncio is slow to import

        return look_in_time(self._sysroot, self._progress("reading processes"))
