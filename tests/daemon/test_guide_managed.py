"""The guide to vGPUs that live as long as their VM, on copies of sample hosts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.guides import DOCS, Shell, examples
from tests.support.hosts import unpacked
from tests.support.played_control import controlled

GUIDE = DOCS / "guides" / "managed-vgpus.md"
HOSTS = {"real": "vgpu-sriov", "vendor": "vgpu-vendor-vfio"}
"""The sample host that stands in for the real one, by the title of a console."""


@pytest.mark.needs("root")
@pytest.mark.parametrize("title", HOSTS)
def test_commands_on_the_real_host_print_what_is_shown(title: str, tmp_path: Path) -> None:
    """The hook is run by hand, with a control service whose kernel is played."""
    host = tmp_path / HOSTS[title]
    unpacked(HOSTS[title], host)
    with controlled(host) as socket:
        ctl = (sys.executable, "-m", "tests.support.ctl_on_host", str(host), str(socket))
        hook = (sys.executable, "-m", "nodedevd.hook")
        shell = Shell(tmp_path, commands={"nodedevctl": ctl, "nodedevd-libvirt-hook": hook})
        shell.environment["NODEDEVD_CONTROL_SOCKET"] = str(socket)
        shell.console(*(one for one in examples(GUIDE, "console") if one.title == title))


def test_every_console_is_run() -> None:
    """Each title belongs to the test above."""
    assert {one.title for one in examples(GUIDE, "console")} == HOSTS.keys()
