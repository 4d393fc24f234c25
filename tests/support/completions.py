"""Makes the files by which shells complete nodedevctl, from click.

python -m tests.support.completions DIRECTORY
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
from click.shell_completion import get_completion_class

import nodedevd.cli
from nodedevd.cli.completion import AskedType
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


WORDS = Path(nodedevd.cli.__file__).parent / "completed_words.py"
COMMAND = "make completion-words"
_HEAD = '''"""Which word of a command line is of what kind; written by `make completion-words`.

By command, "" being nodedevctl itself: the options that take a value, with the kind of that; the
kinds of its arguments; whether the last one may be repeated. A kind is a key of
`proposals.QUESTIONS`, None for any other word.
"""

from __future__ import annotations

from typing import Final, TypeAlias

Words: TypeAlias = tuple[dict[str, str | None], tuple[str | None, ...], bool]

COMMANDS: Final[dict[str, Words]] = '''


def words(command: click.Command, path: str = "") -> dict[str, object]:
    """Return what the module has of a command and those below it, by their names."""
    options: dict[str, str | None] = {}
    arguments: list[str | None] = []
    repeated = False
    for parameter in command.params:
        kind = parameter.type.kind if isinstance(parameter.type, AskedType) else None
        if isinstance(parameter, click.Option):
            if not (parameter.is_flag or parameter.count):
                options |= dict.fromkeys(parameter.opts, kind)
        else:
            arguments.append(kind)
            repeated = parameter.nargs == -1
    found: dict[str, object] = {path: (options, tuple(arguments), repeated)}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            one = command.get_command(context, name)
            assert one is not None
            found |= words(one, f"{path} {name}".strip())
    return found


def current() -> str:
    """Return the module's text as it has to be."""
    return subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--stdin-filename", WORDS.name, "-"],
        input=f"{_HEAD}{words(nodedevctl)!r}\n",
        capture_output=True,
        text=True,
        check=True,
    ).stdout


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write(Path(sys.argv[1]))
    else:
        WORDS.write_text(current(), "utf-8")
