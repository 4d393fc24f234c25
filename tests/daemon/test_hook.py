"""The hook as libvirt runs it, in every phase, with a control service on a copy of a sample host.

The arguments, environment and standard input are those of virHookCall in libvirt's virhook.c.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodedevd.client import Control
from tests.support.ctl import Ctl
from tests.support.hosts import host_file
from tests.support.libvirt_domain import UUID, domain_xml, managed, mdev_device
from tests.support.played_control import controlled
from tests.support.running import PATIENCE_SECONDS, REPOSITORY

MDEV = "4b20d080-1b54-4048-85b3-a6a62d165c01"
TYPE = "nvidia-746"
XML = domain_xml(managed(f"<n:mdev uuid='{MDEV}' type='{TYPE}'/>"), mdev_device(MDEV))
ENABLE = "systemctl enable --now nodedevd-control.socket"
PHASES = [
    ("migrate", "begin"),
    ("restore", "begin"),
    ("prepare", "begin"),
    ("start", "begin"),
    ("started", "begin"),
    ("reconnect", "begin"),
    ("attach", "begin"),
    ("stopped", "end"),
    ("release", "end"),
]
_HOOK = """
import sys
from nodedevd.hook import __main__ as hook, domain_log
domain_log.DIRECTORY, hook.RECORDS = sys.argv.pop(1), sys.argv.pop(1)
hook.PREPARE_SECONDS = float(sys.argv.pop(1))
hook.main()
"""


class Hook:
    """Runs the hook with a socket of the control service, and a directory for logs of domains."""

    def __init__(self, directory: Path, path: Path, *, seconds: float = 90.0) -> None:
        """Prepare; `seconds` is how long it may take."""
        self.logs = directory / "logs"
        self.logs.mkdir(exist_ok=True)
        self._socket = path
        records = directory / "host/run/nodedevd/control/records"
        self._arguments = (str(self.logs), str(records), str(seconds))

    def __call__(
        self, phase: str, sub: str = "-", xml: bytes = XML
    ) -> subprocess.CompletedProcess[bytes]:
        """Run it for a phase of the domain vm1."""
        return subprocess.run(
            [sys.executable, "-c", _HOOK, *self._arguments, "vm1", phase, sub, "-"],
            input=xml,
            capture_output=True,
            cwd=REPOSITORY,
            env={
                "LC_ALL": "C",
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "NODEDEVD_CONTROL_SOCKET": str(self._socket),
            },
            timeout=PATIENCE_SECONDS,
        )

    def succeeds(self, phase: str, sub: str = "-", xml: bytes = XML) -> None:
        """Run it: it has to succeed, and prints nothing, which leaves libvirt's XML as it is."""
        done = self(phase, sub, xml)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

    def fails(self, phase: str, xml: bytes = XML) -> str:
        """Run it: it has to fail, with one line on standard error that the log has, too."""
        done = self(phase, "-", xml)
        assert (done.returncode, done.stdout) == (1, b"")
        [line] = done.stderr.decode().split("\n")[:-1]
        assert self.log[-1].endswith(f"+0000: {line}")
        return line

    @property
    def log(self) -> list[str]:
        """The lines of the domain's log."""
        file = self.logs / "vm1.log"
        return file.read_text().split("\n")[:-1] if file.exists() else []


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Return a copy of a sample host with a card whose functions are mdev parents."""
    copy = tmp_path / "host"
    Ctl(["--sysroot", str(host_file("vgpu-sriov"))]).run("record", "--raw", str(copy))
    return copy


@pytest.fixture
def hook(tmp_path: Path, host: Path) -> Iterator[Hook]:
    """Return the hook, with a service."""
    with controlled(host) as path:
        yield Hook(tmp_path, path)


def has_mdev(host: Path) -> bool:
    """Return whether the mdev exists."""
    return os.path.lexists(host / f"sys/bus/mdev/devices/{MDEV}")


pytestmark = pytest.mark.needs("root")  # only root acts for a domain


def test_mdev_exists_from_prepare_to_release(hook: Hook, host: Path) -> None:
    """Whatever else libvirt tells of in between, and before."""
    assert not has_mdev(host)
    for phase, sub in PHASES:
        hook.succeeds(phase, sub)
        started = PHASES.index((phase, sub)) >= PHASES.index(("prepare", "begin"))
        assert has_mdev(host) == (started and phase != "release"), phase
    assert hook.log == []


def test_mdev_is_the_domains(hook: Hook, host: Path) -> None:
    """The control service shows whose it is, and its log for whom it was made."""
    hook.succeeds("prepare", "begin")
    with Control(str(host.parent / "control.sock")) as control:
        [made] = [one for one in control.list().devices if one.origin == "domain"]
    assert (made.owner, made.type, made.uid) == (UUID, TYPE, os.getuid())
    hook.succeeds("release", "end")


def test_phases_come_twice_and_in_any_order(hook: Hook, host: Path) -> None:
    """A release before, a second prepare as after a restart of libvirtd, two releases."""
    for phase in ("release", "prepare", "prepare", "reconnect", "release", "release"):
        hook.succeeds(phase)
    assert not has_mdev(host)


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        (XML.replace(b"n:mdev", b"n:mdevs"), "unknown element <nodedevd:mdevs>"),
        (XML.replace(TYPE.encode(), b"nvidia-0"), "no device offers the type 'nvidia-0'"),
        (XML.replace(f"uuid='{MDEV}'/></source>".encode(), b"/></source>"), "no <hostdev"),
        (XML.replace(b"</domain>", b""), "standard input is no XML"),
    ],
)
def test_start_that_cannot_be_served_fails_with_the_reason(
    hook: Hook, host: Path, xml: bytes, reason: str
) -> None:
    """In libvirt's error and in the log of the domain; the release that follows is quiet."""
    assert reason in hook.fails("prepare", xml)
    assert not has_mdev(host)
    if b"</domain>" in xml:
        hook.succeeds("release", xml=xml)
    for phase, sub in PHASES:
        if phase not in ("prepare", "release"):  # their failure would end a domain that runs
            hook.succeeds(phase, sub, xml)


def test_domain_without_metadata_needs_no_service(tmp_path: Path) -> None:
    """Nor does one that no service has ever made anything for."""
    hook = Hook(tmp_path, tmp_path / "nothing.sock")
    for phase, sub in PHASES:
        hook.succeeds(phase, sub, domain_xml())
    assert ENABLE in " ".join(hook.fails("prepare").split())


def test_removal_does_not_ask_the_metadata(hook: Hook, host: Path) -> None:
    """It may have been changed while the domain ran."""
    hook.succeeds("prepare")
    hook.succeeds("release", xml=domain_xml())
    assert not has_mdev(host)


def test_hook_gives_up_in_time(tmp_path: Path) -> None:
    """For libvirt waits for it, and does nothing else with the domain."""
    path = tmp_path / "silent.sock"
    hook = Hook(tmp_path, path, seconds=0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        assert "given up" in hook.fails("prepare")


def test_command_explains_itself(tmp_path: Path) -> None:
    """With an example, and the exit status."""
    run = [sys.executable, "-m", "nodedevd.hook"]
    done = subprocess.run([*run, "--help"], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0
    assert "Exit status" in done.stdout
    assert max(map(len, done.stdout.split("\n"))) <= 80
    done = subprocess.run(run, capture_output=True, text=True, cwd=REPOSITORY)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: nodedevd-libvirt-hook")


def test_nothing_slow_is_imported_for_other_domains() -> None:
    """The hook runs five times for each start and end of every domain of the host."""
    code = (
        "import sys; sys.argv = ['hook', 'vm1', 'prepare', 'begin', '-']\n"
        "from nodedevd.hook.__main__ import main; main()\n"
        "import json; print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=domain_xml(), capture_output=True, cwd=REPOSITORY
    )
    modules = set(json.loads(done.stdout))
    assert "nodedevd.hook.__main__" in modules
    assert modules & {"lxml", "msgspec", "click", "asyncio", "nodedevd.client"} == set()
