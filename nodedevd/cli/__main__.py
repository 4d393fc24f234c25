"""nodedevctl: the program; it completes a word for a shell, or runs a command.

What people and scripts wait for is answered before click and the commands would be loaded.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run a command line."""
    instruction = os.environ.get("_NODEDEVCTL_COMPLETE", "")
    if instruction:
        from nodedevd.cli.quick_completion import answered  # only completion needs it

        if answered(instruction):
            return
    elif "list" in sys.argv:
        from nodedevd.cli.quick_list import listed

        if listed(sys.argv[1:]):
            return
    from nodedevd.cli.main import main as nodedevctl  # click, which takes time to load

    nodedevctl()


if __name__ == "__main__":
    main()
