"""The guide that hands a vGPU to a VM, on a copy of the recorded host, with real virsh."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import domains
from tests.support.domains import HAS_QEMU_DRIVER, VIRSH
from tests.support.guides import DOCS, Shell, examples
from tests.support.hosts import FIXTURES
from tests.support.watcher import NODEDEVCTL

GUIDE = DOCS / "guides" / "hand-a-vgpu-to-a-vm.md"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """Return a shell on the host, with a guest that is defined, and one that is described."""
    host = tmp_path / "host"
    shutil.copytree(FIXTURES / "vgpu-sriov", host, symlinks=True)
    kind: domains.Kind = "qemu" if HAS_QEMU_DRIVER else "test"
    with domains.driver(kind) as (virsh, directory):
        for name in ("guest1", "guest2"):
            (directory / f"{name}.xml").write_text(domains.domain(name, "", kind=kind))
        subprocess.run([*virsh, "define", directory / "guest1.xml"], check=True)
        yield Shell(
            directory,
            commands={
                "nodedevctl": (*NODEDEVCTL, "--sysroot", str(host)),
                "mdevctl": (sys.executable, "-m", "tests.support.played_mdevctl", str(host)),
                "virsh": virsh,
            },
        )


@pytest.mark.skipif(VIRSH is None, reason="virsh is not installed")
def test_guide_does_what_it_says(shell: Shell) -> None:
    """Every command prints what is shown, one after the other."""
    consoles = examples(GUIDE, "console")
    assert len(consoles) >= 10
    for one in consoles:
        # The test driver forgets a domain with the command that defined it.
        if one.title != "attach" or HAS_QEMU_DRIVER:
            shell.console(one)


def test_guide_uses_a_recorded_host() -> None:
    """The one it names is there."""
    (host,) = set(re.findall(r"`fixtures/sysfs/([^`]+)`", GUIDE.read_text(encoding="utf-8")))
    assert os.path.isdir(FIXTURES / host)
