"""A sample host in the place of this machine's /sys, for one process and its children."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec

from tests.support.running import PATIENCE_SECONDS, REPOSITORY
from tests.support.trees import Tree

CTL = "from nodedevd.cli.main import main; main()"


def on(tree: Tree, *before: str) -> list[str]:
    """Return the words in front of a command that let it see a tree's /sys; needs root.

    The command runs in a mount namespace of its own, and sees the processes of this machine.
    `before` are further words, such as `setpriv`.
    """
    script = 'mount --bind "$SYS" /sys; exec "$0" "$@"'
    return ["env", f"SYS={tree.at('/sys')}", "unshare", "--mount", "sh", "-ec", script, *before]


def nodedevctl(tree: Tree, *arguments: str, before: tuple[str, ...] = (), status: int = 0) -> Any:
    """Run nodedevctl with a tree as this machine; return the JSON that it prints."""
    done = subprocess.run(
        [*on(tree, *before), sys.executable, "-W", "error", "-c", CTL, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == status, done.stderr
    return msgspec.json.decode(done.stdout)
