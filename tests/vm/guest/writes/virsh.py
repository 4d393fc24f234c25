"""virsh as a client: a process for each call, and what it prints."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

from tests.vm.guest.writes.records import Answer, Call

FILE = "document.xml"
"""always of this name, for virsh prints it"""
LIMIT_SECONDS = 180
"""after which a client is not waited for"""


class Virsh:
    """virsh, which prints; a process for each call."""

    name = "virsh"

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def ask(self, call: Call) -> Answer:
        """Run virsh for a call."""
        command = ["virsh", *(["-r"] if call.read_only else []), "-c", self._uri]
        file = None if call.document is None else FILE
        words = [f"nodedev-{call.verb}", call.device, file, *call.options]
        with tempfile.TemporaryDirectory() as directory:
            if call.document is not None:
                Path(directory, FILE).write_text(call.document)
            done = subprocess.run(
                command + [word for word in words if word is not None],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=LIMIT_SECONDS,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
            )
        return Answer(done.returncode, done.stdout, done.stderr)


def client_version() -> tuple[int, int]:
    """Return the version of libvirt that both clients here are of."""
    found = re.search(r"(\d+)\.(\d+)", subprocess.check_output(["virsh", "--version"], text=True))
    assert found is not None
    return int(found[1]), int(found[2])
