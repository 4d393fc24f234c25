"""What programs load before they answer: most of the time of a short start is imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from nodedevd.cli.commands import COMMANDS
from tests.support.hosts import host_file
from tests.support.running import REPOSITORY
from tests.support.scripted import answering

ANSWER = (
    b'{"parameters": {"generation": 1, "devices": [{"name": "computer", "parent": null, '
    b'"path": null, "capabilities": ["system"], "state": "active", "type": null, '
    b'"type_name": null}]}}\0'
)
KINDS_AND_MORE = (
    *("nodedevd.kinds", "nodedevd.layout", "nodedevd.drawing", "nodedevd.metrics"),
    *("nodedevd.client.fleet", "nodedevd.questions", "nodedevd.actions", "nodedevd.tree"),
    *("asyncio", "ssl", "lxml", "pyudev", "prometheus_client", "nats"),
)
"""What takes long to import, and says nothing about names."""


def loaded(*arguments: str) -> set[str]:
    """Return the modules that nodedevctl has loaded when it ends."""
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from nodedevd.cli.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.splitlines()[-1].split())


def below(modules: set[str], *packages: str) -> list[str]:
    """Return the modules that are these packages, or in them."""
    return sorted(
        one
        for one in modules
        if any(one == name or one.startswith(f"{name}.") for name in packages)
    )


def test_list_of_a_daemon_loads_no_command(tmp_path: Path) -> None:
    """Neither click nor msgspec: the answer takes less time than these."""
    with answering(tmp_path, [ANSWER]) as daemon:
        modules = loaded("--socket", daemon.path, "list", "--cap", "mdev_parent")
    assert "nodedevd.cli.quick_list" in modules
    assert below(modules, "click", "msgspec", "nodedevd.client", *KINDS_AND_MORE) == []


def test_list_with_options_loads_no_kind(tmp_path: Path) -> None:
    """It decodes entries, whose capabilities are words."""
    with answering(tmp_path, [ANSWER]) as daemon:
        modules = loaded("--socket", daemon.path, "list", "--json")
    assert "nodedevd.client.brief" in modules
    assert below(modules, *KINDS_AND_MORE) == []


def test_version_loads_no_command() -> None:
    """Nor does the help of the group, which has a line about each."""
    for option in ("--version", "--help"):
        modules = loaded(option)
        commands = [one.place.partition(":")[0] for one in COMMANDS.values()]
        assert below(modules, *commands, "msgspec", "nodedevd.client", *KINDS_AND_MORE) == []


def test_scan_loads_what_it_is_asked_for() -> None:
    """A host without layout files needs nothing of layouts."""
    modules = loaded("--sysroot", str(host_file("vgpu-pf")), "tree")
    others = [one for one in KINDS_AND_MORE if one not in ("nodedevd.kinds", "nodedevd.tree")]
    assert below(modules, *others) == ["nodedevd.layout", "nodedevd.layout.directories"]


def loaded_to_serve(*arguments: str) -> set[str]:
    """Return the modules that nodedevd has loaded when it is ready."""
    code = (
        "import os, sys\n"
        "import nodedevd.systemd as systemd\n"
        "def notify(state):\n"
        "    if state.startswith('READY=1'):\n"
        "        print(*sys.modules, flush=True)\n"
        "        os._exit(0)\n"
        "systemd.notify = notify\n"
        "from nodedevd.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


def test_daemon_loads_no_more_than_its_first_answer_needs(tmp_path: Path) -> None:
    """Neither click nor OpenSSL, nor what answers questions, draws, or speaks with libvirt."""
    sockets = ("--socket", f"{tmp_path}/socket", "--libvirt-socket", f"{tmp_path}/libvirt")
    modules = loaded_to_serve("--sysroot", str(host_file("vgpu-pf")), *sockets)
    assert "nodedevd.server.varlink.methods" in modules
    assert below(modules, "click", "ssl", "_ssl", "_hashlib", "json", "pathlib", "lxml") == []
    assert below(modules, "nodedevd.server.libvirt", "nodedevd.actions", "nodedevd.client") == []
    assert below(modules, "nodedevd.questions", "nodedevd.layout", "nodedevd.drawing") == [
        *("nodedevd.drawing", "nodedevd.drawing.request", "nodedevd.drawing.words"),
        *("nodedevd.layout", "nodedevd.layout.directories"),
        *("nodedevd.questions", "nodedevd.questions.count"),
        *("nodedevd.questions.hostdev", "nodedevd.questions.hostdev.request"),
    ]
