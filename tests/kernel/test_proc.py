"""processes on this machine's own /proc: real processes that hold a device node."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodedevd.host.processes import ProcessScan, scan_processes
from tests.support.holder import DEV_FULL, holding
from tests.support.running import REPOSITORY

pytestmark = [pytest.mark.needs("device nodes"), pytest.mark.usefixtures("dev_full_alone")]

NODE = "/dev/vfio/12"
NOBODY = 65534


def held_by(seen: ProcessScan) -> dict[int, frozenset[str]]:
    """Return the nodes held, by process."""
    return {one.process.pid: one.nodes for one in seen.open_files if one.nodes}


@pytest.fixture
def node() -> Iterator[str]:
    """Return a device node with the number of /dev/full and another name."""
    with tempfile.TemporaryDirectory(prefix="nodedevd-") as directory:
        os.chmod(directory, 0o755)
        path = f"{directory}/node"
        os.mknod(path, stat.S_IFCHR, DEV_FULL)
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


def test_process_that_holds_a_node_is_found_by_its_number(node: str) -> None:
    """Whatever name it opened it by; and not any more when it has closed it."""
    with holding(node) as pid:
        seen = scan_processes({NODE: DEV_FULL})
        assert held_by(seen) == {pid: {NODE}}
        (found,) = seen.open_files
        assert found.process.process == Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
        assert seen.unseen == guarded()
        assert not seen.hidden
    assert held_by(scan_processes({NODE: DEV_FULL})) == {}


def test_process_in_a_private_mount_namespace_is_found() -> None:
    """QEMU has a /dev of its own, in which libvirt made the nodes."""
    script = 'mount -t tmpfs -o dev tmpfs /mnt; mknod /mnt/12 c 1 7; exec "$0" "$@"'
    with holding("/mnt/12", before=["unshare", "--mount", "sh", "-ec", script]) as pid:
        assert not os.path.exists("/mnt/12")
        assert held_by(scan_processes({NODE: DEV_FULL})) == {pid: {NODE}}


def test_node_that_is_only_named_is_not_open(node: str) -> None:
    """O_PATH gives a descriptor by which the device is not in use."""
    with holding(node, flags="os.O_PATH"):
        assert held_by(scan_processes({NODE: DEV_FULL})) == {}


LOOK = f"""
from nodedevd.host.processes import scan_processes
seen = scan_processes({{{NODE!r}: {DEV_FULL}}})
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


def test_other_users_processes_are_unseen(node: str) -> None:
    """Without privileges the holder is not found, and that is said."""
    # Modules may lie where nobody else can go: they are imported first.
    code = f"import os, nodedevd.host.processes\nos.setuid({NOBODY})\n{LOOK}"
    with holding(node):
        found, unseen, hidden = looked(code=code)
        assert found == "0"
        assert int(unseen) > guarded()
        assert hidden == "False"


def test_root_without_the_capability_cannot_see_a_users_process(node: str) -> None:
    """As in the daemon's unit: QEMU runs as another user, and takes CAP_SYS_PTRACE to see."""
    user = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")
    without = ("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", "--")
    with holding(node, before=user):
        assert looked()[0] == "1"
        found, unseen, _ = looked(*without)
        assert found == "0"
        assert int(unseen) > guarded()


def test_processes_hidden_by_the_mount_are_noticed(node: str) -> None:
    """With hidepid= they are not even counted: what is not found may be there all the same."""
    script = (
        'mount -t proc -o hidepid=2 proc /proc; exec setpriv --bounding-set=-sys_ptrace "$0" "$@"'
    )
    with holding(node):
        assert looked("unshare", "--mount", "sh", "-ec", script)[2] == "True"


def test_process_in_a_pid_namespace_knows_that_it_sees_not_all(node: str) -> None:
    """What runs in a container must not say that nobody has a device open."""
    with holding(node):
        command = ("unshare", "--pid", "--fork", "--mount-proc")
        assert looked(*command) == ["0", "0", "True"]
