"""Changes that nodedevctl makes as root in its own process, in a mount namespace of their own."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from tests.support.running import NODEDEVCTL, PATIENCE_SECONDS

UUID = "4b20d080-1b54-4048-85b3-a6a62d165c01"
MDEV = "mdev_4b20d080_1b54_4048_85b3_a6a62d165c01"
ABSENT = "0000:99:00.0"  # no machine has this bus
SET_UP = """\
set -e
mount -t tmpfs -o mode=0755 none /run
mount -t tmpfs -o mode=0755 none /etc/mdevctl.d
"""


def in_namespace(script: str) -> str:
    """Run a script of bash with a /run and definitions of its own; return what it prints."""
    command = f'ctl() {{ {shlex.join(NODEDEVCTL)} "$@"; }}\n'
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", SET_UP + command + script],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS * 5,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.needs("root", "namespaces", "mdevctl")
def test_root_changes_definitions_without_the_service() -> None:
    """The file is mdevctl's, and what is so already is success."""
    out = in_namespace(
        f"""
ctl define nvidia-746 {ABSENT} --uuid {UUID} --autostart
cat /etc/mdevctl.d/{ABSENT}/{UUID}; echo
ctl define nvidia-746 {ABSENT} --uuid {UUID}
ctl autostart {UUID} --disable
grep start /etc/mdevctl.d/{ABSENT}/{UUID}
ctl undefine {MDEV}
test ! -e /etc/mdevctl.d/{ABSENT}/{UUID}
ls /run/nodedevd/control/journal | wc -l
stat -c %a /run/nodedevd/control
"""
    )
    assert out.splitlines() == [
        MDEV,
        "{",
        '  "mdev_type": "nvidia-746",',
        '  "start": "auto",',
        '  "attrs": []',
        "}",
        MDEV,
        '  "start": "manual",',
        "0",
        "700",
    ]


@pytest.mark.needs("root", "namespaces", "mdevctl")
def test_dry_run_writes_nothing() -> None:
    """Neither a definition, nor a state of its own."""
    out = in_namespace(
        f"""
ctl define nvidia-746 {ABSENT} --uuid {UUID} --dry-run
ls -A /run /etc/mdevctl.d
"""
    )
    assert out.splitlines()[0] == f"1. write the definition of {UUID} on {ABSENT}"
    assert "nodedevd" not in out
    assert f"/{ABSENT}" not in out


@pytest.mark.needs("root", "namespaces", "mdevctl")
def test_state_is_shown_without_the_service() -> None:
    """Root sees what is in progress and left, and how to enable the service."""
    out = in_namespace("ctl control")
    assert "systemctl enable --now" in out
    assert "0 in progress" in out
