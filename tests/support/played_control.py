"""nodedevd-control on a copy of a sample host, together with the kernel's part of each change.

    python -m tests.support.played_control ROOT SOCKET [OPTION...]

A write has the effect that the driver gives it: an mdev is made or removed, the profile of a
function is set. No process has anything open.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from nodedevd.control import facts, writers
from nodedevd.control.__main__ import main as serve
from nodedevd.host.processes import ProcessScan
from nodedevd.host.sysroot import Sysroot
from nodedevd.questions.in_use import VfioUsage
from tests.support.lines import Lines
from tests.support.running import REPOSITORY
from tests.support.trees import Tree

_IOMMU_GROUP = 90


@contextmanager
def controlled(host: Path, *options: str) -> Iterator[Path]:
    """Yield the socket of a control service, with options, for a copy of a sample host."""
    socket = host.parent / "control.sock"
    command = (
        sys.executable,
        "-m",
        "tests.support.played_control",
        str(host),
        str(socket),
        *options,
    )
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=REPOSITORY) as service:
        assert service.stderr is not None
        lines = Lines(service.stderr)
        try:
            while f"clients of {socket}" not in lines.next():
                pass
            yield socket
        finally:
            service.terminate()


def main() -> None:
    """Serve until SIGTERM."""
    root, socket, *options = sys.argv[1:]
    tree = Tree(Path(root))
    tree.directory("/etc/mdevctl.d")

    def write(
        self: writers.Writers, card: str, path: str, value: str, locks: Sequence[int] = ()
    ) -> None:
        play(tree, path, value)

    patch.object(writers.Writers, "write", write).start()
    patch.object(facts, "look_in_time", nobody).start()
    given = ["--sysroot", root, "--socket", socket, "--scan", *options]
    serve(given, prog_name="nodedevd-control")


def play(tree: Tree, path: str, value: str) -> None:
    """Do what the kernel does for a write."""
    above, _, name = path.rpartition("/")
    if name == "create":
        parent, _, type_id = above.partition("/mdev_supported_types/")
        tree.mdev(
            parent,
            value,
            type_id,
            driver="nvidia",
            iommu_group=_IOMMU_GROUP,
            attributes={"nvidia/vgpu_params": ""},
        )
    elif name == "remove":
        parent, _, uuid = above.rpartition("/")
        type_link = os.readlink(tree.at(f"{above}/mdev_type"))
        type_path = os.path.normpath(os.path.join(above, type_link))
        for gone in (f"{type_path}/devices/{uuid}", f"/sys/bus/mdev/devices/{uuid}", above):
            tree.remove(gone)
    else:
        tree.file(path, f"{value}\n")


def nobody(sysroot: Sysroot) -> VfioUsage:
    """Return that no process has a device open."""
    return VfioUsage(processes=ProcessScan((), 0, hidden=False))


if __name__ == "__main__":
    main()
