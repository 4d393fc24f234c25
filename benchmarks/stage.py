"""Puts a generated host in the place of this machine, in new namespaces.

For every process in the namespaces, the host is at /sys and udev's database at /run/udev. Its
network interfaces exist, and udevd's events are sent by netlink. So daemons run unchanged.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

from benchmarks.generate import FIRST_INDEX, Shape, generate
from tests.support.libvirtd import DEFINITIONS, PCI_IDS, RUN, mount
from tests.support.umockdev import udev_message

PROGRAMS = RUN / "programs"
_HOST = RUN / "host"
_ASIDE = RUN / "aside"
_DEVICES = _HOST / "sys/bus/pci/devices"
_UEVENTS = 15  # NETLINK_KOBJECT_UEVENT
_UDEV_GROUP = 2  # the multicast group of udevd, which libudev's monitor joins


class Stage:
    """The host, after `set_up`.

    Attributes:
        devices: number of node devices.
        functions: kernel names of the virtual functions of network cards.
    """

    def __init__(self, shape: Shape) -> None:
        self.devices = shape.devices
        self._shape = shape
        self._aside: list[tuple[Path, Path]] = []
        self._sent = 0
        self._sender: socket.socket | None = None

    def set_up(self) -> None:
        """Generate the host and put it in place. Call it once, in new namespaces."""
        mount("-t", "tmpfs", "-o", "size=90%,nr_inodes=0", "none", "/run")
        for directory in (_HOST, _ASIDE, PROGRAMS):
            directory.mkdir(parents=True)
        generate(_HOST, self._shape)
        self._interfaces()
        Path("/run/udev").mkdir()
        (_HOST / "run/udev/control").touch()  # libudev takes this for a running udevd
        mount("--bind", _HOST / "run/udev", "/run/udev")
        mount("--bind", _HOST / "usr/share/misc/pci.ids", PCI_IDS)
        mount("-t", "tmpfs", "none", DEFINITIONS)
        for scripts in ("callouts", "notifiers"):  # mdevctl needs these directories
            (DEFINITIONS / "scripts.d" / scripts).mkdir(parents=True)
        mount("--bind", _HOST / "sys", "/sys")
        os.environ["SYSTEMD_DEVICE_VERIFY_SYSFS"] = "0"  # otherwise libudev refuses this sysfs
        self._sender = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _UEVENTS)
        self._sender.bind((0, 0))

    def _interfaces(self) -> None:
        """Create the network interfaces, whose features both daemons ask the kernel for."""
        lines = [
            f"link add eno{number} index {FIRST_INDEX + number} type ifb\n"
            for number in range(self._shape.interfaces)
        ]
        subprocess.run(["ip", "-batch", "-"], input="".join(lines), text=True, check=True)

    @property
    def functions(self) -> list[str]:
        """The kernel names of the network cards' virtual functions."""
        links = (_DEVICES.parent / "drivers/iavf").glob("*:*")
        return sorted(link.name for link in links if (link / "physfn").is_symlink())

    # -- changes -----------------------------------------------------------------------

    def remove(self, function: str) -> bytes:
        """Remove a virtual function as the kernel does; return udevd's message about it."""
        path = (_DEVICES / function).resolve()
        message = self._message("remove", path)
        physical = (path / "physfn").resolve()
        virtual = [one for one in physical.glob("virtfn*") if one.resolve() == path]
        links = [_DEVICES / function, (path / "driver").resolve() / function, *virtual]
        for taken in (*links, (path / "iommu_group").resolve(), path):
            aside = _ASIDE / str(len(self._aside))
            os.rename(taken, aside)
            self._aside.append((aside, taken))
        return message

    def restore(self) -> list[bytes]:
        """Restore all removed virtual functions; return udevd's messages about them."""
        for aside, taken in reversed(self._aside):
            os.rename(aside, taken)
        functions = [taken for _, taken in self._aside if (taken / "physfn").is_symlink()]
        self._aside.clear()
        return [self._message("add", path) for path in functions if not path.is_symlink()]

    def send(self, message: bytes) -> None:
        """Send a message to all listeners of udevd."""
        assert self._sender is not None
        self._sender.sendto(message, (0, _UDEV_GROUP))

    def _message(self, action: str, path: Path) -> bytes:
        self._sent += 1
        lines = (path / "uevent").read_text().splitlines()
        properties = dict(line.split("=", 1) for line in lines)
        properties["USEC_INITIALIZED"] = "1000000"  # marks a device that udevd has processed
        where = f"/{path.relative_to(_HOST)}"
        return udev_message(action, where, "pci", self._sent, **properties)


def compiled(name: str) -> Path:
    """Compile a C program beside this module, and return its path. Raises FileNotFoundError."""
    program = PROGRAMS / name
    compiler = shutil.which("cc")
    if compiler is None:
        raise FileNotFoundError("no C compiler: install Debian's packages gcc and libc6-dev")
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run([compiler, "-O2", "-o", program, source], check=True)
    return program
