"""processes: which processes hold given device nodes open, found without opening any.

Reads  /proc/<pid>/fd (links, and the device numbers of what they lead to), fdinfo, comm, cmdline;
       /proc/self/{ns/pid,ns/user,mountinfo,status}
ABI    proc(5), Documentation/filesystems/proc.rst. To look into another user's process takes
       CAP_SYS_PTRACE, ptrace(2): PTRACE_MODE_READ_FSCREDS.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping
from itertools import pairwise
from threading import get_ident

import msgspec

from nodedevd.host.faults import ABSENT, SHORTAGE
from nodedevd.host.job import Job, Unanswered
from nodedevd.host.lines import lines_of
from nodedevd.host.sysroot import Progress, Sysroot
from nodedevd.names import is_uuid

PROC = "/proc"

_ENDED = ABSENT | {errno.ESRCH}
_VFIO_DEVICE = "anon_inode:[vfio-device]"
"""What a process gets from a group's node; since Linux 6.18, fdinfo says which device it is."""
_SYSPATH = re.compile(rb"^vfio-device-syspath:\s*(/sys/.+)$", re.MULTILINE)
_HIDEPID = re.compile(r"(?:^|,)hidepid=(?:2|4|invisible|ptraceable)(?:,|$)")
_CAPABILITIES = re.compile(r"^CapEff:\s*([0-9a-f]+)$", re.MULTILINE)
_CAP_SYS_PTRACE = 1 << 19
_FLAGS = re.compile(rb"^flags:\s*([0-7]+)$", re.MULTILINE)
_QEMU = re.compile(r"qemu|kvm")
_PART = re.compile(r"(?:[^,]|,,)+")
_CMDLINE_BYTES = 256 << 10
"""A command line may have megabytes; that of a large VM has some ten thousand bytes."""
_NAME_LIMIT = 256
# The numbers of the initial namespaces are fixed, include/uapi/linux/nsfs.h.
_FIRST_PID_NAMESPACE = "pid:[4026531836]"
_FIRST_USER_NAMESPACE = "user:[4026531837]"


class Vm(msgspec.Struct, frozen=True, gc=False):
    """What a QEMU process says of its VM on its command line."""

    name: str | None
    """-name; None without it"""
    uuid: str | None
    """-uuid, in lower case; None without it"""


class Process(msgspec.Struct, frozen=True, gc=False):
    """A process, as it is named to people."""

    pid: int
    process: str
    """comm: the first 15 bytes of its name, or what it calls itself"""
    vm: Vm | None = None
    """the VM that it runs; None if it is no QEMU, or its command line names none"""


class OpenFiles(msgspec.Struct, frozen=True):
    """What one process holds of what was asked for."""

    process: Process
    nodes: frozenset[str]
    """of the device nodes"""
    devices: frozenset[str]
    """sysfs paths of the VFIO devices it got from groups"""
    unidentified: int
    """descriptors of VFIO devices of which the kernel does not tell the path"""


class ProcessScan(msgspec.Struct, frozen=True):
    """One pass over all processes."""

    open_files: tuple[OpenFiles, ...]
    unseen: int
    """processes that might not be looked into"""
    hidden: bool
    """whether there can be processes that /proc does not even list"""

    @property
    def complete(self) -> bool:
        """Whether what was not found is not there."""
        return not (self.unseen or self.hidden)


def scan_processes(
    nodes: Mapping[str, int | None],
    *,
    blocks: Mapping[str, int] = {},
    proc: str = PROC,
    progress: Progress | None = None,
    job: Job | None = None,
) -> ProcessScan:
    """Look once through the descriptors of every process. Raises OSError without a /proc.

    `nodes` are device nodes with their number, st_rdev. By that a node is recognised under
    whatever name a process of another root or mount namespace opened it; by its path only
    where the number is not known. `blocks` are nodes of block devices, whose numbers are others
    than those of character devices. What is seen are descriptors of processes: not those of a
    thread that has its own, nor a file on its way through a socket.
    """
    assert get_ident() != Sysroot.loop_thread, "blocking read on the event loop"
    job = job or Job()
    paths = {
        (stat.S_IFCHR, number): path for path, number in nodes.items() if number is not None
    } | {(stat.S_IFBLK, number): path for path, number in blocks.items()}
    pids = [name for name in os.listdir(proc) if name.isascii() and name.isdigit()]
    open_files = []
    unseen = 0
    for done, pid in enumerate(pids):
        if progress is not None:
            progress(done, len(pids))
        try:
            # To ask about an open file can hang, as on a dead network file system.
            with job.besides(f"{proc}/{pid}"):
                held = _Held(f"{proc}/{pid}", nodes, paths)
        except Unanswered:
            unseen += 1
            continue
        unseen += held.refused
        if held.nodes or held.devices or held.unidentified:
            process = Process(int(pid), _name(f"{proc}/{pid}"), _vm(f"{proc}/{pid}"))
            devices = frozenset(held.devices)
            open_files.append(OpenFiles(process, frozenset(held.nodes), devices, held.unidentified))
    return ProcessScan(tuple(open_files), unseen, _hides(proc))


class _Held:
    """The descriptors of one process; one that vanishes holds nothing."""

    def __init__(
        self, directory: str, nodes: Mapping[str, int | None], paths: Mapping[tuple[int, int], str]
    ) -> None:
        self.nodes: set[str] = set()
        self.devices: set[str] = set()
        self.unidentified = 0
        self.refused = False
        self._nodes = nodes
        self._paths = paths
        try:
            with os.scandir(f"{directory}/fd") as descriptors:  # there may be a million
                for one in descriptors:
                    self._look(directory, one.name)
        except OSError as error:
            self.refused |= error.errno not in _ENDED

    def _look(self, directory: str, name: str) -> None:
        try:
            self._recognise(directory, name)
        except OSError as error:
            # Closed meanwhile, or of a file system that fails; or it became another user's.
            self.refused |= isinstance(error, PermissionError) or error.errno in SHORTAGE

    def _recognise(self, directory: str, name: str) -> None:
        link = f"{directory}/fd/{name}"
        text = os.readlink(link)
        if text == _VFIO_DEVICE:
            found = _SYSPATH.search(_read(f"{directory}/fdinfo/{name}"))
            if found is None:
                self.unidentified += 1
            else:
                self.devices.add(os.fsdecode(found[1]))
        elif text.startswith("/"):
            if text in self._nodes and self._nodes[text] is None:
                self.nodes.add(text)
            # stat(2) of the link asks about the file that is open, and opens nothing.
            status = os.stat(link)
            node = self._paths.get((stat.S_IFMT(status.st_mode), status.st_rdev))
            if node is not None:
                flags = _FLAGS.search(_read(f"{directory}/fdinfo/{name}"))
                # By O_PATH a node is only named, not open.
                if flags is None or not int(flags[1], 8) & os.O_PATH:
                    self.nodes.add(node)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _name(directory: str) -> str:
    try:
        return _read(f"{directory}/comm").removesuffix(b"\n").decode("utf-8", "backslashreplace")
    except OSError:
        return "?"  # it ended meanwhile


def _vm(directory: str) -> Vm | None:
    try:
        with open(f"{directory}/cmdline", "rb") as file:
            return vm_of(file.read(_CMDLINE_BYTES))
    except OSError:
        return None  # it ended meanwhile


def vm_of(cmdline: bytes) -> Vm | None:
    """Return the VM that a command line of QEMU names; None for other programs, and without one.

    A process can say there what it likes, as in its name.
    """
    program, *arguments = [one.decode("utf-8", "backslashreplace") for one in cmdline.split(b"\0")]
    if _QEMU.match(program.rpartition("/")[2]) is None:
        return None
    name = uuid = None
    for option, value in pairwise(arguments):
        if option in ("-name", "--name"):
            name = _guest(value) or name
        elif option in ("-uuid", "--uuid") and is_uuid(value):
            uuid = value.lower()
    return None if name is None and uuid is None else Vm(name, uuid)


def _guest(value: str) -> str | None:
    """Return the name in a value of -name, in which a comma is doubled."""
    for number, part in enumerate(_PART.finditer(value)):
        one = part[0]
        key, equals, text = one.partition("=")
        if key == "guest" or (not equals and number == 0):
            return (text if equals else one).replace(",,", ",")[:_NAME_LIMIT]
    return None


def _hides(proc: str) -> bool:
    """Tell whether processes can be missing from /proc, as in a container or by hidepid=."""
    if os.readlink(f"{proc}/self/ns/pid") != _FIRST_PID_NAMESPACE:
        return True
    options = ""
    for line in lines_of(os.fsdecode(_read(f"{proc}/self/mountinfo"))):
        mount, _, file_system = line.partition(" - ")
        if mount.split(" ")[4:5] == [PROC]:  # the last one lies over the others
            options = file_system.split(" ")[-1]
    if _HIDEPID.search(options) is None:
        return False
    found = _CAPABILITIES.search(_read(f"{proc}/self/status").decode("utf-8", "replace"))
    privileged = found is not None and bool(int(found[1], 16) & _CAP_SYS_PTRACE)
    return not privileged or os.readlink(f"{proc}/self/ns/user") != _FIRST_USER_NAMESPACE
