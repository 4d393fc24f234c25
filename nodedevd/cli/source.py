"""Source: where a tool has its devices from, a daemon or a scan of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from nodedevd.formats import Format
from nodedevd.model.device import Device
from nodedevd.model.listing import DeviceList, Devices
from nodedevd.model.status import Status
from nodedevd.questions.fits import Fits
from nodedevd.questions.hostdev import HostDev, HostDevRequest
from nodedevd.questions.in_use import InUse
from nodedevd.questions.resolve import Resolution


class Source(Protocol):
    """What the commands of nodedevctl ask; see `Client` and `Embedded`."""

    def status(self) -> Status:
        """Return how it is doing."""

    def list(self, capabilities: Iterable[str] | None = None) -> DeviceList:
        """Return the devices with any of the capabilities, in brief."""

    def describe(self, name: str) -> Device:
        """Return all that is known of one device. Raises NoSuchDevice."""

    def describe_json(self, name: str) -> bytes:
        """Return the same as JSON. Raises NoSuchDevice."""

    def snapshot(self, capabilities: Iterable[str] | None = None) -> Devices:
        """Return all that is known of devices."""

    def snapshot_json(self, names: Sequence[str] | None = None) -> bytes:
        """Return a JSON document of devices, all without names. Raises NoSuchDevice."""

    def dump_xml(self, names: Sequence[str] | None = None, *, form: Format = "nodedevd") -> str:
        """Return the XML of devices, all without names. Raises NoSuchDevice, NotInFormat."""

    def hostdev(self, request: HostDevRequest) -> HostDev:
        """Return the domain XML that hands a device to a guest.

        Raises NoSuchDevice, NotAssignable, DoesNotFit.
        """

    def fits(self, wanted: str, count: int = 1) -> Fits:
        """Return where so many of a type could be created. Raises NoSuchType."""

    def resolve(self, text: str) -> Resolution:
        """Return which device is meant, by what other tools call it. Raises NoSuchDevice."""

    def in_use(self, names: Sequence[str] | None = None) -> InUse:
        """Return whether devices are open, all of VFIO without names. Raises NoSuchDevice."""
