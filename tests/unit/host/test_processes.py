"""processes: which process holds a device node, on made copies of /proc."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from nodedevd.host.processes import Process, ProcessScan, Vm, scan_processes, vm_of
from tests.support.holder import DEV_FULL

NODE = "/dev/vfio/12"
CARD = "/sys/devices/pci0000:00/0000:00:02.0/0000:3b:00.0"
QEMU = Process(100, "qemu-system-x86")
VFIO_DEVICE = "anon_inode:[vfio-device]"


class FakeProc:
    """A directory in the place of /proc: processes with their descriptors."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.itself()

    def itself(
        self, *, options: str = "rw", namespace: int = 4026531836, capabilities: int = 0
    ) -> None:
        """Write what a process finds out about its own view."""
        own = self.root / "self"
        (own / "ns").mkdir(parents=True, exist_ok=True)
        for name, number in (("pid", namespace), ("user", 4026531837)):
            (own / "ns" / name).unlink(missing_ok=True)
            (own / "ns" / name).symlink_to(f"{name}:[{number}]")
        (own / "mountinfo").write_text(
            "1 0 8:1 / / rw - ext4 /dev/root rw\n"
            f"22 27 0:21 / /proc rw,relatime - proc proc {options}\n"
        )
        (own / "status").write_text(f"Name:\tx\nCapEff:\t{capabilities:016x}\n")

    def process(
        self, descriptors: Mapping[int, str], info: Mapping[int, str] | None = None, pid: int = 100
    ) -> Path:
        """Make a process with these descriptors, by what they lead to."""
        directory = self.root / str(pid)
        (directory / "fd").mkdir(parents=True)
        (directory / "fdinfo").mkdir()
        (directory / "comm").write_text("qemu-system-x86\n")
        for number, target in descriptors.items():
            (directory / "fd" / str(number)).symlink_to(target)
            text = (info or {}).get(number, "")
            (directory / "fdinfo" / str(number)).write_text(f"pos:\t0\nflags:\t0100002\n{text}")
        return directory

    def look(self, nodes: Mapping[str, int | None] | None = None) -> ProcessScan:
        """Look through all of them."""
        return scan_processes({NODE: DEV_FULL} if nodes is None else nodes, proc=str(self.root))


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    """Return a /proc in which nobody runs yet."""
    return FakeProc(tmp_path / "proc")


def test_node_without_number_is_recognised_by_its_path(proc: FakeProc) -> None:
    """Where sysfs tells no number, the text of the link has to do."""
    proc.process({0: "/dev/null", 7: NODE})
    (holding,) = proc.look({NODE: None}).open_files
    assert (holding.process, holding.nodes) == (QEMU, frozenset({NODE}))
    assert proc.look({"/dev/vfio/13": None}).open_files == ()


def test_path_of_a_node_with_another_number_is_not_it(proc: FakeProc, tmp_path: Path) -> None:
    """A group's number is given to another group later: the path alone proves nothing."""
    proc.process({7: "/dev/null"})
    assert proc.look({"/dev/null": DEV_FULL}).open_files == ()


def test_sockets_pipes_and_files_are_no_nodes(proc: FakeProc, tmp_path: Path) -> None:
    """What else a process has open is passed over."""
    (tmp_path / "file").write_text("")
    proc.process(
        {0: "pipe:[1]", 1: "socket:[2]", 2: str(tmp_path / "file"), 3: "/gone (deleted)"}
        | {4: "anon_inode:[eventfd]", 5: "anon_inode:kvm-vm"}
    )
    assert proc.look() == ProcessScan((), 0, hidden=False)


def test_vfio_device_tells_its_path_by_fdinfo(proc: FakeProc) -> None:
    """Since Linux 6.18 the kernel says which device a process got from a group."""
    proc.process({9: VFIO_DEVICE}, {9: f"vfio-device-syspath: {CARD}\n"})
    (holding,) = proc.look().open_files
    assert holding.devices == {CARD}
    assert not holding.nodes
    assert holding.unidentified == 0


def test_vfio_device_of_an_older_kernel_is_untold(proc: FakeProc) -> None:
    """Without that line it is known that there is one, and not which."""
    proc.process({9: VFIO_DEVICE})
    (holding,) = proc.look().open_files
    assert holding.unidentified == 1
    assert not holding.devices


def test_process_that_vanishes_is_quiet(proc: FakeProc, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may end at any moment: before its descriptors are listed, or while they are."""
    proc.process({7: NODE})
    (proc.root / "101").mkdir()  # it has gone already
    readlink = os.readlink

    def vanishing(path: str) -> str:
        (proc.root / "100" / "fd" / "7").unlink(missing_ok=True)
        return readlink(path)

    monkeypatch.setattr(os, "readlink", vanishing)
    assert proc.look({NODE: None}) == ProcessScan((), 0, hidden=False)


def test_process_without_name_that_ended_meanwhile_is_told(proc: FakeProc) -> None:
    """It held the node a moment ago; only its name cannot be had any more."""
    (proc.process({7: NODE}) / "comm").unlink()
    (holding,) = proc.look({NODE: None}).open_files
    assert holding.process == Process(100, "?")


@pytest.mark.parametrize(
    ("view", "hidden"),
    [
        ({}, False),
        ({"options": "rw,hidepid=invisible"}, True),
        ({"options": "rw,gid=4,hidepid=2"}, True),
        ({"options": "rw,hidepid=ptraceable,subset=pid"}, True),
        ({"options": "rw,hidepid=noaccess"}, False),
        ({"options": "rw,hidepid=2", "capabilities": 1 << 19}, False),
        ({"namespace": 4026532198}, True),
    ],
)
def test_view_that_leaves_processes_out_is_hidden(
    proc: FakeProc, view: Mapping[str, object], hidden: bool
) -> None:
    """In a container, or by hidepid=, /proc shows no more than some of the processes."""
    proc.itself(**view)  # type: ignore[arg-type]
    seen = proc.look()
    assert seen.hidden is hidden
    assert seen.complete is not hidden


def test_progress_is_told_of_each_process(proc: FakeProc) -> None:
    """Who waits is shown how many processes there are."""
    for pid in (100, 101, 102):
        proc.process({}, pid=pid)
    told: list[tuple[int, int]] = []
    scan_processes({}, proc=str(proc.root), progress=lambda done, of: told.append((done, of)))
    assert told == [(0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            [
                "-name",
                "guest=web-01,debug-threads=on",
                "-uuid",
                "5D4D1F0C-6d5b-45d5-9a64-3c6f0a3d1e01",
            ],
            Vm("web-01", "5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01"),
        ),
        (["-name", "plain"], Vm("plain", None)),
        (["--name", "debug-threads=on,guest=a,,b"], Vm("a,b", None)),
        (["-name", "x,,,process=q"], Vm("x,", None)),
        (["-name", "process=q", "-m", "4G"], None),
        (["-name", ""], None),
        (["-name"], None),
        (["-uuid", "not-one"], None),
        (["-name", "\udcff"], Vm("\\xff", None)),
        (["-name", "n" * 5000], Vm("n" * 256, None)),
        ([], None),
    ],
)
def test_vm_is_what_qemu_names_on_its_command_line(
    arguments: list[str], expected: Vm | None
) -> None:
    """By -name, in the forms that QEMU accepts, and -uuid; nonsense names no VM."""
    for program in ("/usr/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm", "kvm"):
        line = [program, *arguments]
        data = b"".join([one.encode("utf-8", "surrogateescape") + b"\0" for one in line])
        assert vm_of(data) == expected


def test_other_programs_run_no_vm(tmp_path: Path) -> None:
    """Whatever their arguments are, and whether there are any."""
    for line in (b"/usr/bin/dpdk\0-name\0x\0", b"", b"\0", b"\xff"):
        assert vm_of(line) is None
    directory = FakeProc(tmp_path).process({3: NODE})
    (directory / "cmdline").write_bytes(b"qemu-kvm\0-name\0guest=db\0")
    [holding] = FakeProc(tmp_path).look({NODE: None}).open_files
    assert holding.process == Process(100, "qemu-system-x86", Vm("db", None))
