"""The guides that assign a vGPU to a VM, on sample hosts, and with virsh."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import domains
from tests.support.domains import HAS_QEMU_DRIVER
from tests.support.guides import DOCS, Shell, examples
from tests.support.hosts import unpacked
from tests.support.lines import Lines
from tests.support.running import REPOSITORY

MDEV = DOCS / "guides" / "assign-a-vgpu-to-a-vm.md"
VENDOR = DOCS / "guides" / "assign-a-vgpu-without-an-mdev.md"
REAL = {MDEV: "vgpu-sriov", VENDOR: "vgpu-vendor-vfio"}
"""The sample host that stands in for the real one of a guide."""
ATTACHING = "real attach"
"""The title of consoles that libvirt's test driver cannot follow: it forgets a domain when the
command that defined it ends."""


@contextmanager
def shell_on(host: Path) -> Iterator[Shell]:
    """Yield a shell whose commands take `host` for this host, with two guests.

    `guest1` is defined; `guest2` has a description.
    """
    kind: domains.Kind = "qemu" if HAS_QEMU_DRIVER else "test"
    with domains.driver(kind) as (virsh, directory), controlled(host) as socket:
        for name in ("guest1", "guest2"):
            (directory / f"{name}.xml").write_text(domains.domain(name, "", kind=kind))
        subprocess.run([*virsh, "define", directory / "guest1.xml"], check=True)
        ctl = (sys.executable, "-m", "tests.support.ctl_on_host", str(host), str(socket))
        yield Shell(directory, commands={"nodedevctl": ctl, "virsh": virsh})


@contextmanager
def controlled(host: Path) -> Iterator[Path]:
    """Yield the socket of a control service for a copy of a sample host."""
    socket = host.parent / "control.sock"
    command = (sys.executable, "-m", "tests.support.played_control", str(host), str(socket))
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=REPOSITORY) as service:
        assert service.stderr is not None
        lines = Lines(service.stderr)
        try:
            while f"clients of {socket}" not in lines.next():
                pass
            yield socket
        finally:
            service.terminate()


@pytest.mark.parametrize("guide", REAL, ids=lambda guide: guide.stem)
def test_commands_on_sample_hosts_print_what_is_shown(guide: Path, tmp_path: Path) -> None:
    """A reader can type them in a clone, one after the other."""
    consoles = [one for one in examples(guide, "console") if not one.title]
    Shell(tmp_path).console(*consoles, start_in=REPOSITORY)


@pytest.mark.needs("virsh")
@pytest.mark.parametrize("guide", REAL, ids=lambda guide: guide.stem)
def test_commands_on_the_real_host_print_what_is_shown(guide: Path, tmp_path: Path) -> None:
    """A copy of a sample host stands in for the real one, and its kernel is played."""
    host = tmp_path / REAL[guide]
    unpacked(REAL[guide], host)
    with shell_on(host) as shell:
        for one in examples(guide, "console"):
            if one.title and (HAS_QEMU_DRIVER or one.title != ATTACHING):
                shell.console(one)


def test_every_console_is_run() -> None:
    """Each title belongs to one of the tests above."""
    for guide, titles in ((MDEV, {"", "real", ATTACHING}), (VENDOR, {"", "real"})):
        assert {one.title for one in examples(guide, "console")} == titles
