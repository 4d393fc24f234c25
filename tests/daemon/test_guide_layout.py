"""The guide to layouts, on copies of sample hosts."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.guides import DOCS, Shell, examples
from tests.support.hosts import unpacked
from tests.support.played_control import controlled, play
from tests.support.trees import Tree

GUIDE = DOCS / "guides" / "layout.md"
HOSTS = {"real": "vgpu-sriov", "vendor": "vgpu-vendor-vfio"}
"""The sample host that stands in for the real one, by the title of a console."""
INSTALL = """
import shutil, sys
host, *_, source, target = sys.argv[1:]
shutil.copy(source, host + target)
"""


def fresh(host: Path) -> None:
    """Take all mdevs and definitions away."""
    mdevs = host / "sys/bus/mdev/devices"
    for name in sorted(os.listdir(mdevs)) if mdevs.exists() else ():
        path = os.path.relpath(os.path.realpath(mdevs / name), host)
        play(Tree(host), f"/{path}/remove", "1")
    shutil.rmtree(host / "etc/mdevctl.d", ignore_errors=True)


@pytest.mark.needs("root")
@pytest.mark.parametrize("title", HOSTS)
def test_commands_on_the_real_host_print_what_is_shown(title: str, tmp_path: Path) -> None:
    """From a host without mdevs to one that is as declared, with a kernel that is played."""
    host = tmp_path / HOSTS[title]
    unpacked(HOSTS[title], host)
    fresh(host)
    (host / "etc/nodedevd/layout.d").mkdir(parents=True)
    with controlled(host) as socket:
        ctl = (sys.executable, "-m", "tests.support.ctl_on_host", str(host), str(socket))
        install = (sys.executable, "-c", INSTALL, str(host))
        shell = Shell(tmp_path, commands={"nodedevctl": ctl, "install": install})
        shell.environment["NODEDEVD_CONTROL_SOCKET"] = str(socket)
        shell.console(*(one for one in examples(GUIDE, "console") if one.title == title))
