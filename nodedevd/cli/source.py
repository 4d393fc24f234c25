"""Source: where a command gets devices from, a daemon (`Client`) or a scan (`Embedded`)."""

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
    """The calls that commands make; `Client` and `Embedded` answer them alike."""

    def status(self) -> Status:
        """Return the state of the daemon or of the scan, and the read errors."""

    def list(self, capabilities: Iterable[str] | None = None) -> DeviceList:
        """Return the devices with any of the capabilities, in brief; all without a filter."""

    def describe(self, name: str) -> Device:
        """Return one device with all its properties. Raises NoSuchDevice."""

    def describe_json(self, name: str) -> bytes:
        """Return one device as JSON. Raises NoSuchDevice."""

    def snapshot(self, capabilities: Iterable[str] | None = None) -> Devices:
        """Return the devices with any of the capabilities, with all their properties."""

    def snapshot_json(self, names: Sequence[str] | None = None) -> bytes:
        """Return the named devices, or all, as one JSON document. Raises NoSuchDevice."""

    def dump_xml(self, names: Sequence[str] | None = None, *, form: Format = "nodedevd") -> str:
        """Return the XML of the named devices, or of all. Raises NoSuchDevice, NotInFormat."""

    def hostdev(self, request: HostDevRequest) -> HostDev:
        """Return the domain XML that assigns a device to a guest.

        Raises NoSuchDevice, NotAssignable, DoesNotFit.
        """

    def fits(self, wanted: str, count: int = 1) -> Fits:
        """Return the cards that have room for vGPUs of a type. Raises NoSuchType."""

    def resolve(self, text: str) -> Resolution:
        """Return the devices that another tool's identifier refers to. Raises NoSuchDevice."""

    def in_use(self, names: Sequence[str] | None = None) -> InUse:
        """Return whether the named devices are open. Raises NoSuchDevice.

        Without names: all mdevs and all devices that are bound to VFIO.
        """
