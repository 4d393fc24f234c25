"""processes: who holds a device node, on this machine's own /proc and on made ones."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from nodedevd.host.processes import Process, ProcessScan, scan_processes
from tests.support.holder import STAND_IN, can_make_nodes, holding, needs_nodes
from tests.support.running import REPOSITORY

NODE = "/dev/vfio/12"
CARD = "/sys/devices/pci0000:00/0000:00:02.0/0000:3b:00.0"
QEMU = Process(100, "qemu-system-x86")
NOBODY = 65534
VFIO_DEVICE = "anon_inode:[vfio-device]"

needs_root = pytest.mark.skipif(not can_make_nodes(), reason=needs_nodes)


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
        return scan_processes({NODE: STAND_IN} if nodes is None else nodes, proc=str(self.root))


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    """Return a /proc in which nobody runs yet."""
    return FakeProc(tmp_path / "proc")


# -- made ones -------------------------------------------------------------------------


def test_node_without_number_is_recognised_by_its_path(proc: FakeProc) -> None:
    """Where sysfs tells no number, the text of the link has to do."""
    proc.process({0: "/dev/null", 7: NODE})
    (holding,) = proc.look({NODE: None}).open_files
    assert (holding.process, holding.nodes) == (QEMU, frozenset({NODE}))
    assert proc.look({"/dev/vfio/13": None}).open_files == ()


def test_path_of_a_node_with_another_number_is_not_it(proc: FakeProc, tmp_path: Path) -> None:
    """A group's number is given to another group later: the path alone proves nothing."""
    proc.process({7: "/dev/null"})
    assert proc.look({"/dev/null": STAND_IN}).open_files == ()


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


# -- this machine's --------------------------------------------------------------------


def held_by(seen: ProcessScan) -> dict[int, frozenset[str]]:
    """Return the nodes held, by process."""
    return {one.process.pid: one.nodes for one in seen.open_files if one.nodes}


@pytest.fixture
def node() -> Iterator[str]:
    """Return a character device node of the stand-in's number, under a name of its own."""
    with tempfile.TemporaryDirectory(prefix="nodedevd-") as directory:
        os.chmod(directory, 0o755)
        path = f"{directory}/stand-in"
        os.mknod(path, stat.S_IFCHR, STAND_IN)
        os.chmod(path, 0o666)
        yield path


def guarded() -> int:
    """Count the processes of this machine that not even root may look into."""
    count = 0
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            for link in (directory / "fd").iterdir():
                link.readlink()
        except PermissionError:
            count += 1
        except OSError:
            continue
    return count


@needs_root
def test_process_that_holds_a_node_is_found_by_its_number(node: str) -> None:
    """Whatever name it opened it by; and not any more when it has closed it."""
    with holding(node) as pid:
        seen = scan_processes({NODE: STAND_IN})
        assert held_by(seen) == {pid: {NODE}}
        (found,) = seen.open_files
        assert found.process.process == Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
        assert seen.unseen == guarded()
        assert not seen.hidden
    assert held_by(scan_processes({NODE: STAND_IN})) == {}


@needs_root
def test_process_in_a_private_mount_namespace_is_found() -> None:
    """QEMU has a /dev of its own, in which libvirt made the nodes."""
    script = 'mount -t tmpfs -o dev tmpfs /mnt; mknod /mnt/12 c 1 7; exec "$0" "$@"'
    with holding("/mnt/12", before=["unshare", "--mount", "sh", "-ec", script]) as pid:
        assert not os.path.exists("/mnt/12")
        assert held_by(scan_processes({NODE: STAND_IN})) == {pid: {NODE}}


@needs_root
def test_node_that_is_only_named_is_not_open(node: str) -> None:
    """O_PATH gives a descriptor by which the device is not in use."""
    with holding(node, flags="os.O_PATH"):
        assert held_by(scan_processes({NODE: STAND_IN})) == {}


LOOK = f"""
from nodedevd.host.processes import scan_processes
seen = scan_processes({{{NODE!r}: {STAND_IN}}})
print(len(seen.open_files), seen.unseen, seen.hidden)
"""


def looked(*before: str, code: str = LOOK) -> list[str]:
    """Look from another process, which begins with this command: holders, unseen, hidden."""
    done = subprocess.run(
        [*before, sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@needs_root
def test_other_users_processes_are_unseen(node: str) -> None:
    """Without privileges the holder is not found, and that is said."""
    # Modules may lie where nobody else can go: they are imported first.
    code = f"import os, nodedevd.host.processes\nos.setuid({NOBODY})\n{LOOK}"
    with holding(node):
        found, unseen, hidden = looked(code=code)
        assert found == "0"
        assert int(unseen) > guarded()
        assert hidden == "False"


@needs_root
def test_root_without_the_capability_cannot_see_a_users_process(node: str) -> None:
    """As in the daemon's unit: QEMU runs as another user, and takes CAP_SYS_PTRACE to see."""
    user = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")
    without = ("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", "--")
    with holding(node, before=user):
        assert looked()[0] == "1"
        found, unseen, _ = looked(*without)
        assert found == "0"
        assert int(unseen) > guarded()


@needs_root
def test_processes_hidden_by_the_mount_are_noticed(node: str) -> None:
    """With hidepid= they are not even counted: what is not found may be there all the same."""
    script = (
        'mount -t proc -o hidepid=2 proc /proc; exec setpriv --bounding-set=-sys_ptrace "$0" "$@"'
    )
    with holding(node):
        assert looked("unshare", "--mount", "sh", "-ec", script)[2] == "True"


@needs_root
def test_process_in_a_pid_namespace_knows_that_it_sees_not_all(node: str) -> None:
    """What runs in a container must not say that nobody has a device open."""
    with holding(node):
        command = ("unshare", "--pid", "--fork", "--mount-proc")
        assert looked(*command) == ["0", "0", "True"]
