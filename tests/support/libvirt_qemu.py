"""A real libvirtd with its QEMU driver, which runs the hook under test.

`hooked(socket, host, script)` starts this module again in namespaces of its own, where libvirtd
has directories of its own, and QEMU runs a domain without a system. Two listeners beside the hook
note each operation, and whether the mdev is there on the played host.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.support.libvirtd import (
    LIBVIRTD,
    NAMESPACES,
    SOCKET,
    TIMEOUT_SECONDS,
    mount,
    run_virsh,
)
from tests.support.running import REPOSITORY

RUN = Path("/run/test")
ETC = Path("/etc/libvirt")
HEARD = RUN / "heard"
LOG = Path("/var/log/libvirt/qemu/vm1.log")
PID = Path("/run/libvirt/qemu/vm1.pid")
URI = f"qemu:///system?socket={SOCKET}"
INIT = ("bash", "-c", '"$@"; exit $?', "bash")
"""The first process of the namespaces: it waits for QEMUs whose parent has ended."""
KILL, START, STOP = "kill-qemu", "start-libvirtd", "stop-libvirtd"
"""Commands of a script that are none of virsh."""

USERS = {
    "/etc/passwd": "libvirt-qemu:x:64055:64055::/nonexistent:/bin/false\n",
    "/etc/group": "libvirt-qemu:x:64055:\nkvm:x:64056:\n",
}
"""Those that Debian's libvirt-daemon-system makes."""
QEMU_CONFIGURATION = """\
user = "root"
group = "root"
security_driver = "none"
stdio_handler = "file"
cgroup_controllers = [ ]
namespaces = [ ]
"""
LISTENER = """\
#!/bin/sh
cat > /dev/null
[ -e {mdev} ] && is=present || is=absent
echo "$(basename $0) $2 $is" >> {heard}
"""
HOOK = """\
#!/bin/sh
export NODEDEVD_CONTROL_SOCKET={socket}
cd {repository} && exec {python} -m nodedevd.hook "$@"
"""


class Ran(NamedTuple):
    """What came of a command."""

    status: int
    output: str
    """what it printed, errors included"""
    heard: list[str]
    """the operations that the listeners have noted, and whether the mdev was there"""
    log: list[str]
    """the lines of nodedevd that the log of the domain has got"""


def hooked(control: Path, mdev: Path, script: Iterable[Sequence[str]]) -> list[Ran]:
    """Run commands of virsh, or those above, on a libvirtd that is started before.

    Args:
        control: The socket of the control service that the hook asks.
        mdev: The path of the mdev that the listeners look for.
        script: Each is followed by what ends it: the last operation that libvirt has to call.
    """
    arguments = [str(control), str(mdev), json.dumps(list(map(list, script)))]
    done = subprocess.run(
        [*NAMESPACES, *INIT, sys.executable, "-m", "tests.support.libvirt_qemu", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Ran(*one) for one in json.loads(done.stdout)]


# -- inside the namespaces --------------------------------------------------------------


def put_in_place(control: str, mdev: str) -> None:
    """Give libvirtd directories and users of its own, and the hooks."""
    mount("-t", "tmpfs", "none", "/run")
    for number, directory in enumerate(
        (ETC, *(Path(f"/var/{name}/libvirt") for name in ("lib", "log", "cache")))
    ):
        own = RUN / str(number)
        own.mkdir(parents=True)
        directory.mkdir(parents=True, exist_ok=True)  # the package of libvirtd's units has them
        mount("--bind", own, directory)
    LOG.parent.mkdir()
    for path, lines in USERS.items():
        own = RUN / Path(path).name
        own.write_text(Path(path).read_text() + lines)
        mount("--bind", own, path)
    (ETC / "qemu.conf").write_text(QEMU_CONFIGURATION)
    (ETC / "libvirtd.conf").write_text('auth_unix_rw = "none"\n')
    hooks = ETC / "hooks/qemu.d"
    hooks.mkdir(parents=True)
    listener = LISTENER.format(mdev=mdev, heard=HEARD)
    hook = HOOK.format(socket=control, repository=REPOSITORY, python=sys.executable)
    for name, text in (("10-before", listener), ("50-nodedevd", hook), ("90-after", listener)):
        (hooks / name).write_text(text)
        (hooks / name).chmod(0o755)
    drivers = RUN / "drivers"
    drivers.mkdir()
    found = next(Path("/usr/lib").glob("*/libvirt/connection-driver/libvirt_driver_qemu.so"))
    (drivers / found.name).symlink_to(found)


class Daemon:
    """libvirtd, started and stopped by a script."""

    def __init__(self) -> None:
        self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ready.bind(str(RUN / "ready"))
        self._ready.settimeout(TIMEOUT_SECONDS)
        self.start()

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        environment = {
            **os.environ,
            "LIBVIRT_DRIVER_DIR": str(RUN / "drivers"),
            "NOTIFY_SOCKET": str(RUN / "ready"),
        }
        self._process = subprocess.Popen(
            [LIBVIRTD], env=environment, stdout=sys.stderr, stderr=sys.stderr
        )
        while b"READY=1" not in self._ready.recv(4096):
            pass

    def stop(self) -> None:
        """Stop it; QEMU runs on."""
        self._process.terminate()
        self._process.wait(TIMEOUT_SECONDS)


def lines(file: Path) -> list[str]:
    """Return the lines of a file that may be missing."""
    return file.read_text().split("\n")[:-1] if file.exists() else []


def play(script: Iterable[Sequence[str]]) -> list[Ran]:
    """Run the commands of a script; each begins with the operation that ends it, or nothing."""
    daemon = Daemon()
    found, seen = [], 0
    for last, *command in script:
        HEARD.unlink(missing_ok=True)
        status, output = 0, ""
        if command == [KILL]:
            subprocess.run(["kill", "-9", PID.read_text()], check=True)
        elif command == [START]:
            daemon.start()
        elif command == [STOP]:
            daemon.stop()
        else:
            printed = run_virsh(URI, ["-q", *command])
            status, output = printed.status, printed.output + printed.errors
        deadline = time.monotonic() + TIMEOUT_SECONDS / 2
        while last and not any(line.startswith(f"90-after {last} ") for line in lines(HEARD)):
            assert time.monotonic() < deadline, f"{command}: no {last}: {lines(HEARD)} {output}"
            time.sleep(0.05)
        log = [line.partition("nodedevd: ")[2] for line in lines(LOG) if "nodedevd: " in line]
        found.append(Ran(status, output, lines(HEARD), log[seen:]))
        seen = len(log)
    daemon.stop()
    return found


def main() -> None:
    """Play a script, and print what came of it."""
    assert shutil.which("virsh")
    control, mdev, script = sys.argv[1:]
    put_in_place(control, mdev)
    print(json.dumps(play(json.loads(script))))


if __name__ == "__main__":
    main()
