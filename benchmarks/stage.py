"""A generated host in the place of this machine's, in namespaces of its own.

It is at /sys, with udev's database at /run/udev, for every process in the namespaces; its
interfaces are there, and what udevd would tell is told by netlink. So daemons run as they are.
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
_UDEV_GROUP = 2  # what udevd sends to, as libudev's monitor has it


class Stage:
    """The host, once `set_up` is done.

    Attributes:
        devices: node devices it has.
        functions: the kernel's names of virtual functions of network cards.
    """

    def __init__(self, shape: Shape) -> None:
        self.devices = shape.devices
        self._shape = shape
        self._aside: list[tuple[Path, Path]] = []
        self._told = 0
        self._sender: socket.socket | None = None

    def set_up(self) -> None:
        """Make the host and put it in place. To be called once, in new namespaces."""
        mount("-t", "tmpfs", "-o", "size=90%,nr_inodes=0", "none", "/run")
        for directory in (_HOST, _ASIDE, PROGRAMS):
            directory.mkdir(parents=True)
        generate(_HOST, self._shape)
        self._interfaces()
        Path("/run/udev").mkdir()
        (_HOST / "run/udev/control").touch()  # libudev's sign that there is a udevd
        mount("--bind", _HOST / "run/udev", "/run/udev")
        mount("--bind", _HOST / "usr/share/misc/pci.ids", PCI_IDS)
        mount("-t", "tmpfs", "none", DEFINITIONS)
        for scripts in ("callouts", "notifiers"):  # mdevctl insists on them
            (DEFINITIONS / "scripts.d" / scripts).mkdir(parents=True)
        mount("--bind", _HOST / "sys", "/sys")
        os.environ["SYSTEMD_DEVICE_VERIFY_SYSFS"] = "0"  # or libudev takes it for no sysfs
        self._sender = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _UEVENTS)
        self._sender.bind((0, 0))

    def _interfaces(self) -> None:
        """Make the interfaces, whose features both daemons ask of the kernel."""
        lines = [
            f"link add eno{number} index {FIRST_INDEX + number} type ifb\n"
            for number in range(self._shape.interfaces)
        ]
        subprocess.run(["ip", "-batch", "-"], input="".join(lines), text=True, check=True)

    @property
    def functions(self) -> list[str]:
        """The kernel's names of the network cards' virtual functions."""
        links = (_DEVICES.parent / "drivers/iavf").glob("*:*")
        return sorted(link.name for link in links if (link / "physfn").is_symlink())

    # -- changes -----------------------------------------------------------------------

    def take_away(self, function: str) -> bytes:
        """Remove a virtual function as the kernel does; return what udevd tells of that."""
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

    def put_back(self) -> list[bytes]:
        """Bring back all that was taken away; return what udevd tells of that."""
        for aside, taken in reversed(self._aside):
            os.rename(aside, taken)
        functions = [taken for _, taken in self._aside if (taken / "physfn").is_symlink()]
        self._aside.clear()
        return [self._message("add", path) for path in functions if not path.is_symlink()]

    def tell(self, message: bytes) -> None:
        """Send a message to all who listen to udevd."""
        assert self._sender is not None
        self._sender.sendto(message, (0, _UDEV_GROUP))

    def _message(self, action: str, path: Path) -> bytes:
        self._told += 1
        lines = (path / "uevent").read_text().splitlines()
        properties = dict(line.split("=", 1) for line in lines)
        properties["USEC_INITIALIZED"] = "1000000"  # the sign that udevd has seen it
        where = f"/{path.relative_to(_HOST)}"
        return udev_message(action, where, "pci", self._told, **properties)


def compiled(name: str) -> Path:
    """Return the program made of a C source beside this module. Raises FileNotFoundError."""
    program = PROGRAMS / name
    compiler = shutil.which("cc")
    if compiler is None:
        raise FileNotFoundError("no C compiler: install Debian's packages gcc and libc6-dev")
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run([compiler, "-O2", "-o", program, source], check=True)
    return program
