"""listing: the names in a directory of the host, where a missing directory has none."""

from __future__ import annotations

from nodedevd.host.faults import ABSENT, Fault, fault_of
from nodedevd.host.sysroot import Sysroot
from nodedevd.text import printable_path


def names_in(sysroot: Sysroot, directory: str) -> list[str]:
    """Return the names in a directory, sorted; none if it is missing. Raises OSError."""
    try:
        return sorted(sysroot.listdir(directory))
    except OSError as error:
        if error.errno in ABSENT:
            return []
        raise


def readable_names_in(sysroot: Sysroot, directory: str, faults: list[Fault]) -> list[str]:
    """Return the same; a directory that cannot be listed has none, and adds a fault."""
    try:
        return names_in(sysroot, directory)
    except OSError as error:
        faults.append(fault_of(printable_path(directory), error))
        return []
