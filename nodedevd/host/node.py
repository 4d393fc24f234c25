"""Node: one device's directory in sysfs, and the three outcomes of a read below it.

An attribute that is absent is `None`. If the device is gone, a read raises `NodeGone`. An
attribute that cannot be read or makes no sense is `None` too, and leaves a `Fault`; the other
attributes are not affected. `Node.faults` knows whether a fault leaves open what the device is.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Collection, Iterable, Mapping

from nodedevd.errors import NodeGone
from nodedevd.host.faults import ABSENT, GONE, SHORTAGE, Fault, FaultCode, Faults
from nodedevd.host.lines import lines_of
from nodedevd.host.sysroot import LinksInCircle, Sysroot
from nodedevd.host.udev_db import DIRECTORY as UDEV_DATA
from nodedevd.host.udev_db import UdevData, device_id
from nodedevd.host.udev_db import parse as parse_udev_data
from nodedevd.lazy import lazy
from nodedevd.text import printable_path

# int() accepts more: blanks, signs, underscores, digits of other scripts, 0x twice.
_NUMBER = {10: re.compile("[0-9]{1,19}"), 16: re.compile("(?:0[xX])?[0-9a-fA-F]{1,16}")}
_PADDING = " \t\n"
_INT64_MAX = 2**63 - 1


class Node:
    """A device's directory: its listing, which is read once, and its attributes.

    Raises NodeGone. So do the reads, and OSError if it cannot be told whether the device is gone.
    """

    def __init__(
        self,
        sysroot: Sysroot,
        path: str,
        *,
        subsystem: str | None = None,
        listed_in: Iterable[str] = (),
        faults: Faults | None = None,
    ) -> None:
        self.sysroot = sysroot
        self.path = path
        self.sysname = path.rpartition("/")[2]
        self.listed_in = frozenset(listed_in)
        """the directories that list the device, such as `/sys/class/mdev_bus`"""
        self.faults = Faults() if faults is None else faults
        try:
            self.entries = frozenset(sysroot.listdir(path))
        except OSError as error:
            if error.errno in GONE:
                raise NodeGone(path) from None
            self.entries = frozenset({"subsystem"})  # which every device has
            self.faults.add("", error)
        self.subsystem = subsystem or self.link_name("subsystem")

    def fault(self, attribute: str, code: FaultCode, detail: str) -> None:
        """Add a fault of an attribute."""
        self.faults.append(Fault(printable_path(attribute), code, detail))

    def read(
        self, attribute: str, *, promised: bool = False, absent: Collection[int] = ()
    ) -> str | None:
        r"""Read an attribute as text, without its last newline.

        Bytes that are not UTF-8 become `\xNN` and leave a fault.

        Args:
            attribute: Its path, relative to the device's.
            promised: Whether the ABI promises it: absent or empty, it leaves a fault.
            absent: The errnos with which drivers report that they have no such value (yet).
        """
        data = self.read_bytes(attribute, promised=promised, absent=absent)
        if data is None:
            return None
        if data.endswith(b"\n"):
            data = data[:-1]
        if promised and not data:
            self.fault(attribute, "malformed", "empty")
            return None
        try:
            return data.decode()
        except UnicodeDecodeError:
            self.fault(attribute, "malformed", "not UTF-8")
            return data.decode("utf-8", "backslashreplace")

    @lazy
    def uevent(self) -> Mapping[str, str]:
        """The variables of the file `uevent`, such as DEVTYPE, MAJOR, DEVNAME.

        The kernel writes its own before those of the driver: the first one of a name counts.
        """
        lines = lines_of(self.read("uevent") or "")
        return dict([line.split("=", 1) for line in reversed(lines) if "=" in line])

    @lazy
    def udev(self) -> UdevData:
        """The entry in udevd's database; empty if it has none, or udevd is not running."""
        path = f"{UDEV_DATA}/{device_id(self.subsystem, self.sysname, self.uevent)}"
        try:
            data = self.sysroot.read(path)
        except OSError as error:
            if error.errno not in ABSENT:
                self.faults.add(path, error)
            return UdevData()
        return parse_udev_data(data.decode("utf-8", "backslashreplace"))

    def read_bytes(
        self,
        attribute: str,
        *,
        size: int | None = None,
        promised: bool = False,
        absent: Collection[int] = (),
    ) -> bytes | None:
        """Read an attribute as bytes, all or the first `size`; `read` has the other arguments."""
        if "/" not in attribute and attribute not in self.entries:
            if promised:
                self.fault(attribute, "absent", "")
            return None
        try:
            return self.sysroot.read(f"{self.path}/{attribute}", size)
        except OSError as error:
            if error.errno not in absent or error.errno in SHORTAGE:
                self._failed(attribute, error, promised=promised, own=True)
            elif error.errno in GONE and not self.sysroot.exists(self.path):
                raise NodeGone(self.path) from None
            return None

    def read_padded(self, attribute: str, *, absent: Collection[int] = ()) -> str | None:
        """Read text that the driver pads with blanks to a fixed width; None if it is blank."""
        text = self.read(attribute, absent=absent)
        return None if text is None else text.strip(_PADDING) or None

    def read_number(self, attribute: str, *, base: int = 10, promised: bool = False) -> int | None:
        """Read an attribute as an unsigned number; other text is a fault."""
        text = self.read(attribute, promised=promised)
        if text is None:
            return None
        number = parse_number(text, base)
        if number is None:
            self.fault(attribute, "malformed", text[:80])
        return number

    def link(self, attribute: str) -> str | None:
        """Return the path that a link points at, whether or not it exists."""
        return self._follow(attribute, self.sysroot.target)

    def link_name(self, attribute: str) -> str | None:
        """Return the last component of the path that a link points at."""
        name = self._follow(attribute, self.sysroot.target_name)
        return None if name is None else printable_path(name)

    def _follow(self, attribute: str, follow: Callable[[str], str]) -> str | None:
        if "/" not in attribute and attribute not in self.entries:
            return None
        try:
            return follow(f"{self.path}/{attribute}")
        except OSError as error:
            if error.errno == errno.EINVAL:
                self.fault(attribute, "malformed", "not a link")
            else:
                self._failed(attribute, error)
            return None

    def has(self, attribute: str) -> bool:
        """Return whether the device's directory has this entry."""
        return attribute in self.entries and self.sysroot.saw(f"{self.path}/{attribute}")

    def exists(self, path: str) -> bool:
        """Return whether a path of the host exists; False, with a fault, if that is unknown."""
        try:
            return self.sysroot.exists(path)
        except OSError as error:
            self.faults.add(path.removeprefix(f"{self.path}/"), error)
            return False

    def names(self, directory: str) -> list[str]:
        """List a directory below the device, sorted; a missing one is empty."""
        if "/" not in directory and directory not in self.entries:
            return []
        try:
            return sorted(self.sysroot.names(f"{self.path}/{directory}"))
        except OSError as error:
            self._failed(directory, error)
            return []

    def _failed(
        self,
        attribute: str,
        error: OSError,
        *,
        promised: bool = False,
        own: bool = False,
    ) -> None:
        if error.errno in GONE and not self.sysroot.exists(self.path):
            raise NodeGone(self.path) from None
        if error.errno not in ABSENT:
            self.faults.add(attribute, error, own=own or isinstance(error, LinksInCircle))
        elif promised:
            self.fault(attribute, "absent", "")


def parse_number(text: str, base: int = 10) -> int | None:
    """Parse an unsigned number in the kernel's form, with or without `0x` for base 16."""
    if _NUMBER[base].fullmatch(text) is None:
        return None
    number = int(text, base)
    return number if number <= _INT64_MAX else None
