"""Devices of the machine the tests run on, whose uevents root may bring about."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest


def real_device() -> tuple[str, str, Callable[[], None]]:
    """Return path and subsystem of a device, and what has the kernel send `change` for it.

    Skips the test where there is none, or no right to do it. Nothing about it changes: see
    Documentation/ABI/testing/sysfs-uevent.
    """
    if os.geteuid() != 0:
        pytest.skip("only root may ask the kernel for uevents")
    for directory in ("/sys/bus/pci/devices", "/sys/class/net"):
        for link in sorted(Path(directory).glob("*")):
            path = link.resolve()
            if os.access(path / "uevent", os.W_OK):
                return str(path), Path(directory).parts[3], partial(_change, path / "uevent")
    pytest.skip("no device whose uevents can be asked for")


def _change(uevent: Path) -> None:
    uevent.write_text("change")
