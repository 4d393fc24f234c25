"""nodedevctl: the program; it answers a shell that completes a word, or runs a command."""

from __future__ import annotations

import os


def main() -> None:
    """Run a command line."""
    instruction = os.environ.get("_NODEDEVCTL_COMPLETE", "")
    if instruction:
        from nodedevd.cli.quick_completion import answered  # only completion needs it

        if answered(instruction):
            return
    from nodedevd.cli.main import main as nodedevctl  # all commands, which take time to load

    nodedevctl()


if __name__ == "__main__":
    main()
