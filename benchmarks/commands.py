"""Measures whole processes of commands that people wait for, beside virsh and the interpreter."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from benchmarks.daemons import Nodedevd

RUNS = 9
"""of each command, in turn"""

Times: TypeAlias = dict[str, float]


def measure(daemon: Nodedevd, program: str | None) -> dict[str, Times]:
    """Run the commands in turn, and return the median of each, in seconds, by its program.

    Args:
        daemon: It runs, and is asked.
        program: Path of nodedevd, beside which nodedevctl is; None: that of this tree.

    Raises CalledProcessError, FileNotFoundError.
    """
    ours = [sys.executable, "-m", "nodedevd.cli"]
    interpreter = [sys.executable]
    if program is not None:
        ours = [str(Path(program).with_name("nodedevctl"))]
        interpreter = [str(Path(program).with_name("python"))]
    virsh = shutil.which("virsh")
    here = {**os.environ, "NODEDEVD_SOCKET": str(daemon.varlink.path)}
    words = {"_NODEDEVCTL_COMPLETE": "bash_complete", "COMP_CWORD": "2"}
    completed = {**here, **words, "COMP_WORDS": "nodedevctl show "}
    commands: dict[tuple[str, str], tuple[Sequence[str], Mapping[str, str]]] = {
        ("nodedevd", "list_s"): ([*ours, "list"], here),
        ("nodedevd", "version_s"): ([*ours, "--version"], here),
        ("nodedevd", "completion_s"): (ours, completed),
        ("nodedevd", "tree_s"): ([*ours, "--sysroot", "/", "tree"], os.environ),
        ("interpreter", "nothing_s"): ([*interpreter, "-c", "pass"], os.environ),
    }
    if virsh is not None:
        uri = f"nodedev:///system?socket={daemon.libvirt.path}"
        commands["virsh", "list_s"] = ([virsh, "-c", uri, "nodedev-list"], os.environ)
    times: dict[tuple[str, str], list[float]] = {one: [] for one in commands}
    for _ in range(RUNS):
        for one, (command, environment) in commands.items():
            began = time.perf_counter()
            subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
            times[one].append(time.perf_counter() - began)
    found: dict[str, Times] = {}
    for (name, key), seconds in times.items():
        found.setdefault(name, {})[key] = statistics.median(seconds)
    return found
