"""Makes the files by which shells complete nodedevctl, from click.

python -m tests.support.completions DIRECTORY
"""

from __future__ import annotations

import sys
from pathlib import Path

from click.shell_completion import get_completion_class

from nodedevd.cli.main import main as nodedevctl

FILES = {
    "bash": "bash/nodedevctl",
    "zsh": "zsh/_nodedevctl",
    "fish": "fish/nodedevctl.fish",
}
"""By shell, the name by which it loads the file when it first completes the command."""


def write(directory: Path) -> None:
    """Write the file of each shell below a directory."""
    for shell, name in FILES.items():
        completion = get_completion_class(shell)
        assert completion is not None
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        source = completion(nodedevctl, {}, "nodedevctl", "_NODEDEVCTL_COMPLETE").source()
        path.write_text(source.strip() + "\n", "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
