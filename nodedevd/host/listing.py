"""listing: the names in a directory of the host, and where a link leads, if they are there."""

from __future__ import annotations

import errno

from nodedevd.host.faults import GONE, Faults
from nodedevd.host.sysroot import Sysroot, is_absence


def names_in(sysroot: Sysroot, directory: str) -> list[str]:
    """Return the names in a directory, sorted; none if it is missing. Raises OSError."""
    try:
        return sorted(sysroot.listdir(directory))
    except OSError as error:
        if error.errno in GONE:
            return []
        raise


def readable_names_in(sysroot: Sysroot, directory: str, faults: Faults) -> list[str]:
    """Return the same; a directory that cannot be listed has none, and adds a fault."""
    try:
        return names_in(sysroot, directory)
    except OSError as error:
        faults.add(directory, error)
        return []


def target_of(sysroot: Sysroot, link: str) -> str | None:
    """Return the path that a link leads to; None if there is none, or it is no link.

    Raises OSError if that cannot be told.
    """
    try:
        return sysroot.target(link)
    except OSError as error:
        if is_absence(error) or error.errno == errno.EINVAL:
            return None
        raise
