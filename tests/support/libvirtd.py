"""A real libvirtd over a sysroot: its XML of every device, for comparison.

`dump(root)` starts this module again in mount, network and process namespaces of its own. There
the sample host takes the place of /sys and of udev's database, and libvirtd runs unmodified,
with its node device driver alone. Nothing outside of the namespaces is touched.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from nodedevd.cli.embedded import Embedded
from nodedevd.kinds.system import System
from nodedevd.tree.record import record

LIBVIRTD = Path("/usr/sbin/libvirtd")
DRIVER = "libvirt/connection-driver/libvirt_driver_nodedev.so"
UDEVD = Path("/lib/systemd/systemd-udevd")
RULES = ("50-udev-default", "60-cdrom_id", "60-drm", "60-persistent-storage")
"""The rules of systemd that libvirt needs; the others would change the machine."""
SUBSYSTEMS = ("block", "drm", "mdev", "net", "pci", "scsi", "scsi_generic", "usb", "vdpa")
MDEVCTL = Path("/usr/bin/mdevctl")
DEFINITIONS = Path("/etc/mdevctl.d")
PCI_IDS = Path("/usr/share/misc/pci.ids")
NAMESPACES = [
    *("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *("--propagation", "private"),
]
TIMEOUT_SECONDS = 120
HOST_UUID = "2d9c1c5e-5f0b-4c2b-8a5e-3f9c8b7a6d01"
"""What libvirtd is told to be the uuid of a host that has none."""

RUN = Path("/run/test")
PROGRAMS = RUN / "bin"
SOCKET = "/run/libvirt/libvirt-sock"
URI = f"nodedev:///system?socket={SOCKET}"


class Printed(NamedTuple):
    """What a command came to: its exit status, and what it wrote."""

    status: int
    output: str
    errors: str


def missing() -> str | None:
    """Return what is missing to run a libvirtd here, None if nothing is."""
    if os.geteuid() != 0:
        return "root, for a libvirtd in namespaces of its own"
    if not LIBVIRTD.exists() or _driver() is None:
        return "libvirtd (Debian: libvirt-daemon)"
    if not MDEVCTL.exists() or not DEFINITIONS.exists():
        return "mdevctl (Debian: mdevctl)"
    if shutil.which("ip") is None:
        return "ip (Debian: iproute2)"
    if not PCI_IDS.exists():
        return "pci.ids (Debian: pci.ids)"
    mounts = ["sh", "-c", "mount -t tmpfs none /run && mount -t sysfs none /sys"]
    tried = subprocess.run([*NAMESPACES, *mounts], capture_output=True, check=False)
    if tried.returncode != 0:
        return "a kernel that permits mount, network and process namespaces"
    return None


def dump(root: Path) -> dict[str, str]:
    """Return the XML of all devices that libvirtd finds on a sample host, by name."""
    return dict(json.loads(inside("recorded", str(root.resolve()))))


def dump_here(copy: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the XML of this machine's devices, by libvirtd and by nodedevd, by name.

    An udevd of its own tells libvirtd of them; of the network there is what a new namespace has.
    What nodedevd read is recorded in the directory `copy`.
    """
    theirs, ours = json.loads(inside("here", str(copy)))
    return theirs, ours


def virsh(root: Path, script: Iterable[Sequence[str]]) -> list[Printed]:
    """Run virsh on the libvirtd of a sample host, once for each of the commands."""
    commands = json.dumps(list(map(list, script)))
    # Each command has its own timeout, so ninety of them together need none.
    answers = json.loads(inside("virsh", str(root.resolve()), commands, timeout_seconds=None))
    return [Printed(*answer) for answer in answers]


def run_virsh(uri: str, command: Sequence[str]) -> Printed:
    """Run a command of virsh on a connection."""
    done = subprocess.run(
        ["virsh", "-c", uri, *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    return Printed(done.returncode, done.stdout, done.stderr)


def inside(*arguments: str, timeout_seconds: float | None = TIMEOUT_SECONDS) -> str:
    """Run this module in namespaces of its own, and return what it prints."""
    command = [*NAMESPACES, sys.executable, "-m", "tests.support.libvirtd", *arguments]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _driver() -> Path | None:
    return next(Path("/usr/lib").glob(f"*/{DRIVER}"), None)


# -- inside the namespaces --------------------------------------------------------------


def mount(*arguments: str | Path) -> None:
    """Run the program of this name."""
    subprocess.run(["mount", *arguments], check=True)


def put_in_place(root: Path) -> None:
    """Put a sample host where libvirtd and libudev look for one."""
    _own_devices([path.name for path in root.glob("sys/devices/**/vhost-vdpa-*")])
    mount("-t", "tmpfs", "none", "/run")
    data = Path("/run/udev/data")
    data.mkdir(parents=True)
    Path("/run/udev/control").touch()  # libudev's sign that there is a udevd
    if (root / "run/udev/data").exists():
        mount("--bind", root / "run/udev/data", data)
    ids = root / "usr/share/misc/pci.ids"
    mount("--bind", ids if ids.exists() else "/dev/null", PCI_IDS)
    if (root / "etc/mdevctl.d").exists():
        mount("-t", "tmpfs", "none", DEFINITIONS)
        shutil.copytree(root / "etc/mdevctl.d", DEFINITIONS, dirs_exist_ok=True)
        for scripts in ("callouts", "notifiers"):  # mdevctl insists on them
            (DEFINITIONS / "scripts.d" / scripts).mkdir(parents=True)
        PROGRAMS.mkdir(parents=True)
        (PROGRAMS / MDEVCTL.name).symlink_to(MDEVCTL)
    _put_sys_in_place(root)


def _put_sys_in_place(root: Path) -> None:
    copy, real = RUN / "sys", RUN / "real"
    real.mkdir(parents=True)
    mount("-t", "sysfs", "none", real)
    # A sample host's lo is not this one, whose features libvirtd would show.
    subprocess.run(["ip", "link", "set", "lo", "name", "nobodys"], check=True)
    shutil.copytree(root / "sys", copy, symlinks=True)
    # A file that is read with EINVAL cannot be recorded. libvirt drops an interface for any
    # other error; a loopback gives this one.
    for interface in copy.glob("class/net/*"):
        speed = interface / "speed"
        if not speed.exists():
            speed.touch()
            mount("--bind", real / "class/net/nobodys/speed", speed)
    mount("--rbind", copy, "/sys")
    os.environ["SYSTEMD_DEVICE_VERIFY_SYSFS"] = "0"


def _own_devices(names: list[str]) -> None:
    """Make a /dev with the little that libvirtd needs, and these nodes."""
    kept = {name: os.stat(f"/dev/{name}") for name in ("null", "zero", "random", "urandom")}
    mount("-t", "tmpfs", "none", "/dev")
    for name, stat in kept.items():
        os.mknod(f"/dev/{name}", stat.st_mode, stat.st_rdev)
    Path("/dev/stdin").symlink_to("/proc/self/fd/0")  # by which libvirtd gives mdevctl definitions
    for name in names:
        Path("/dev", name).touch()


def _own_udevd() -> None:
    """Run udevd with the rules that find out what devices are, and have it look at all."""
    with tempfile.TemporaryDirectory() as kept:
        for name in RULES:
            shutil.copy(Path("/usr/lib/udev/rules.d", f"{name}.rules"), kept)
        for directory in ("/usr/lib/udev/rules.d", "/etc/udev"):
            mount("-t", "tmpfs", "none", directory)
        shutil.copytree(kept, "/usr/lib/udev/rules.d", dirs_exist_ok=True)
    subprocess.run([UDEVD, "--daemon"], check=True)  # returns when it is ready
    subsystems = [f"--subsystem-match={name}" for name in SUBSYSTEMS]
    subprocess.run(["udevadm", "trigger", "--settle", *subsystems], check=True)


@contextmanager
def running(host_uuid: str) -> Iterator[Client]:
    """Run libvirtd; give a connection to it."""
    drivers = RUN / "drivers"
    drivers.mkdir(parents=True)
    found = _driver()
    assert found is not None
    (drivers / found.name).symlink_to(found)
    config = RUN / "libvirtd.conf"
    config.write_text(f'auth_unix_rw = "none"\nhost_uuid = "{host_uuid}"\n')
    ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ready.bind(str(RUN / "ready"))
    ready.settimeout(TIMEOUT_SECONDS)
    environment = {
        **os.environ,
        "LIBVIRT_DRIVER_DIR": str(drivers),
        "NOTIFY_SOCKET": str(RUN / "ready"),
        "PATH": str(PROGRAMS),  # no mdevctl where it would tell of this machine
    }
    with subprocess.Popen(
        [LIBVIRTD, "-f", config, "-p", RUN / "libvirtd.pid"], env=environment
    ) as process:
        try:
            while b"READY=1" not in ready.recv(4096):
                pass
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(SOCKET)
                yield Client(connection)
        finally:
            process.terminate()


class Client:
    """A connection to libvirtd, by its RPC: a length, a header of six words, and XDR.

    https://libvirt.org/kbase/internals/rpc.html; numbers from remote_protocol.x.
    """

    PROGRAM, VERSION = 0x20008086, 1
    OPEN, GET_XML, AUTH_LIST, LIST_ALL = 1, 114, 66, 285
    REPLY, OK = 1, 0

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rwb")
        self._call(self.AUTH_LIST)
        self._call(self.OPEN, struct.pack(">I", 1) + _text("nodedev:///system") + bytes(4))

    def names(self) -> list[str]:
        """Return the names of all devices."""
        answer = self._call(self.LIST_ALL, struct.pack(">II", 1, 0))
        (count,) = struct.unpack_from(">I", answer)
        names = []
        at = 4
        for _ in range(count):
            (size,) = struct.unpack_from(">I", answer, at)
            names.append(answer[at + 4 : at + 4 + size].decode())
            at += 4 + size + -size % 4
        return names

    def xml(self, name: str) -> str:
        """Return a device's XML."""
        answer = self._call(self.GET_XML, _text(name) + bytes(4))
        (size,) = struct.unpack_from(">I", answer)
        return answer[4 : 4 + size].decode("utf-8", "surrogateescape")

    def _call(self, procedure: int, arguments: bytes = b"") -> bytes:
        header = (self.PROGRAM, self.VERSION, procedure, 0, 0, 0)
        self._file.write(struct.pack(">7I", 28 + len(arguments), *header) + arguments)
        self._file.flush()
        while True:
            (size,) = struct.unpack(">I", self._file.read(4))
            answer = self._file.read(size - 4)
            _, _, called, kind, _, status = struct.unpack_from(">6I", answer)
            if (called, kind) == (procedure, self.REPLY):
                assert status == self.OK, f"procedure {procedure} failed: {answer[24:]!r}"
                return answer[24:]


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


@contextmanager
def running_on(root: str) -> Iterator[Client]:
    """Run libvirtd on a sample host; give a connection to it."""
    put_in_place(Path(root))
    uuid = Path("/sys/devices/virtual/dmi/id/product_uuid")
    with running(uuid.read_text().strip() if uuid.exists() else HOST_UUID) as client:
        yield client


def recorded(root: str) -> None:
    """Print libvirtd's XML of every device of a sample host, by name, as JSON."""
    with running_on(root) as client:
        print(json.dumps({name: client.xml(name) for name in client.names()}))


def answered(root: str, script: str) -> None:
    """Print what commands of virsh come to on a sample host; both are JSON."""
    with running_on(root):
        print(json.dumps([run_virsh(URI, command) for command in json.loads(script)]))


def here(copy: str) -> None:
    """Print the XML of this machine's devices, by libvirtd and by nodedevd; record them."""
    nodes = RUN / "dev"
    mount("-t", "tmpfs", "none", "/run")
    nodes.mkdir(parents=True)
    subprocess.run(["cp", "--archive", "--one-file-system", "/dev/.", nodes], check=True)
    mount("--bind", nodes, "/dev")
    mount("-t", "sysfs", "none", "/sys")  # with the interfaces of this namespace
    _own_udevd()
    source = Embedded("/")
    record("/", copy, raw=True)
    names = re.findall("^    <name>(.*)</name>$", source.dump_xml(form="libvirt"), re.MULTILINE)
    uuid = source.tree.lookup("computer").capability(System)
    with running((uuid and uuid.hardware.uuid) or HOST_UUID) as client:
        theirs = {name: client.xml(name) for name in client.names()}
    print(json.dumps([theirs, {name: source.dump_xml([name], form="libvirt") for name in names}]))


MODES: dict[str, Callable[..., None]] = {"recorded": recorded, "virsh": answered, "here": here}

if __name__ == "__main__":
    MODES[sys.argv[1]](*sys.argv[2:])
