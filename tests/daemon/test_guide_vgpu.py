"""The guide that hands a vGPU to a VM, on copies of recorded hosts, with real virsh."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.support import domains
from tests.support.domains import HAS_QEMU_DRIVER
from tests.support.guides import DOCS, Shell, examples
from tests.support.hosts import FIXTURES
from tests.support.watcher import NODEDEVCTL

GUIDE = DOCS / "guides" / "hand-a-vgpu-to-a-vm.md"
HOSTS = {"vgpu-sriov": ("", "attach"), "vgpu-vendor-vfio": ("l40s",)}
"""What stands behind the word `console` of those that are for a host."""


@contextmanager
def shell_on(host: Path) -> Iterator[Shell]:
    """Yield a shell on a host, with a guest that is defined, and one that is described."""
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


@pytest.mark.needs("virsh")
@pytest.mark.parametrize("name", HOSTS)
def test_guide_does_what_it_says(name: str, tmp_path: Path) -> None:
    """Every command prints what is shown, one after the other."""
    host = tmp_path / name
    shutil.copytree(FIXTURES / name, host, symlinks=True)
    with shell_on(host) as shell:
        for one in examples(GUIDE, "console"):
            # The test driver forgets a domain with the command that defined it.
            if one.title in HOSTS[name] and (one.title != "attach" or HAS_QEMU_DRIVER):
                text = re.sub(r"^(\$ .* > )(/sys/)", rf"\1{host}\2", one.text, flags=re.M)
                shell.console(msgspec.structs.replace(one, text=text))


def test_guide_names_the_hosts_it_is_run_on() -> None:
    """All of its consoles are for one of them."""
    text = GUIDE.read_text(encoding="utf-8")
    assert set(re.findall(r"`fixtures/sysfs/([^`]+)`", text)) == set(HOSTS)
    titles = {title for titles in HOSTS.values() for title in titles}
    assert {one.title for one in examples(GUIDE, "console")} == titles
