"""directories: where layout files are; for a scan that need not load what reads them."""

from __future__ import annotations

from typing import Final

from nodedevd.host.listing import names_in
from nodedevd.host.sysroot import Sysroot

DIRECTORIES: Final = (
    "/etc/nodedevd/layout.d",
    "/run/nodedevd/layout.d",
    "/usr/lib/nodedevd/layout.d",
)
"""The directories, the strongest first."""


def may_declare(sysroot: Sysroot) -> bool:
    """Return whether there is anything in the directories, or one cannot be listed."""
    try:
        return any(names_in(sysroot, directory) for directory in DIRECTORIES)
    except OSError:
        return True
