"""The guide that assigns a vGPU to a VM, on sample hosts, and with virsh."""

from __future__ import annotations

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
from tests.support.hosts import unpacked
from tests.support.running import NODEDEVCTL, REPOSITORY

GUIDE = DOCS / "guides" / "assign-a-vgpu-to-a-vm.md"
REAL = {"vgpu-sriov": ("real", "real attach"), "vgpu-vendor-vfio": ("real l40s",)}
"""The titles of consoles that change the real host, by the sample host that stands in for it."""


@contextmanager
def shell_on(host: Path) -> Iterator[Shell]:
    """Yield a shell whose commands take `host` for this host, with two guests.

    `guest1` is defined; `guest2` has a description.
    """
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


def test_commands_on_sample_hosts_print_what_is_shown(tmp_path: Path) -> None:
    """A reader can type them in a clone, one after the other."""
    consoles = [one for one in examples(GUIDE, "console") if not one.title]
    Shell(tmp_path).console(*consoles, start_in=REPOSITORY)


@pytest.mark.needs("virsh")
@pytest.mark.parametrize("name", REAL)
def test_commands_on_the_real_host_print_what_is_shown(name: str, tmp_path: Path) -> None:
    """A copy of a sample host stands in for the real one."""
    host = tmp_path / name
    unpacked(name, host)
    with shell_on(host) as shell:
        # The test driver forgets a domain when the command that defined it ends.
        titles = [title for title in REAL[name] if title != "real attach" or HAS_QEMU_DRIVER]
        for one in examples(GUIDE, "console"):
            if one.title in titles:
                text = one.text.replace(" > /sys/", f" > {host}/sys/")
                shell.console(msgspec.structs.replace(one, text=text))


def test_every_console_is_run() -> None:
    """Each title belongs to one of the tests above."""
    titles = {title for titles in REAL.values() for title in titles}
    assert {one.title for one in examples(GUIDE, "console")} == {"", *titles}
