"""Runs the examples of the documentation: fenced blocks of a Markdown file.

A block `console` holds commands and their output:

    $ nodedevctl list --cap mdev_parent
    pci_0000_02_00_0

A line that starts with "$ " is a command of bash. A command that ends in a backslash, or opens a
here-document, continues on lines that start with "> ". The other lines are its output, errors
included. "…" in such a line stands for any text, alone on a line for any number of lines.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from tests.support.running import COMMAND, NODEDEVCTL, PATIENCE_SECONDS, REPOSITORY

DOCS = REPOSITORY / "docs"

_BLOCK = re.compile(r"^```(\w+)[ \t]*([^\n`]*)\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)


class Example(msgspec.Struct, frozen=True):
    """A fenced block."""

    language: str
    title: str
    """the words after the language"""
    text: str
    place: str
    """file and line, for messages"""

    def __str__(self) -> str:
        return self.place


class Step(msgspec.Struct, frozen=True):
    """A command of a console, and its output."""

    command: str
    output: str


def examples(path: Path, *languages: str) -> list[Example]:
    """Return the blocks of a file in these languages, or in all, in order."""
    text = path.read_text(encoding="utf-8")
    found = [
        Example(
            match[1],
            match[2].strip(),
            match[3],
            f"{path.relative_to(DOCS)}:{text.count(chr(10), 0, match.start()) + 1}",
        )
        for match in _BLOCK.finditer(text)
    ]
    return [one for one in found if not languages or one.language in languages]


def programs(path: Path) -> list[tuple[Example, Example]]:
    """Return the programs of a file, each with the block `text` after it, its output."""
    found = examples(path)
    pairs = itertools.pairwise(found)
    return [pair for pair in pairs if (pair[0].language, pair[1].language) == ("python", "text")]


def steps(console: str) -> list[Step]:
    """Return the commands of a console block, each with its output."""
    found: list[tuple[list[str], list[str]]] = []
    for line in console.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append(([line[2:]], []))
            continue
        assert found, f"a console begins with a command: {line!r}"
        command, output = found[-1]
        if not output and line.startswith("> "):
            command.append(line[2:])
        else:
            output.append(line)
    return [Step("".join(command), "".join(output)) for command, output in found]


def agrees(shown: str, printed: str) -> bool:
    """Return whether an example shows what was printed."""
    pattern = "".join(
        "(?:.*\n)*?" if line.strip() == "…" else ".*?".join(map(re.escape, line.split("…")))
        for line in shown.splitlines(keepends=True)
    )
    return re.fullmatch(pattern, printed) is not None


class Shell:
    """Runs examples in a directory, with nodedevd's commands in the path."""

    def __init__(
        self,
        directory: Path,
        *,
        socket_path: Path | None = None,
        commands: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Prepare the directory.

        Args:
            directory: The working directory of the examples, which also holds their scratch files.
            socket_path: Socket of the daemon that nodedevctl and the programs ask.
            commands: Further commands, or stand-ins, by name.
        """
        self.directory = directory
        binaries = directory / ".bin"
        binaries.mkdir()
        ours = {"nodedevctl": NODEDEVCTL, "nodedevd": COMMAND, "python3": (sys.executable,)}
        for name, command in {**ours, **(commands or {})}.items():
            file = binaries / name
            file.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
            file.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONWARNINGS": "error",
            "TMPDIR": str(directory),
            "LC_ALL": "C.UTF-8",
            **({} if socket_path is None else {"NODEDEVD_SOCKET": str(socket_path)}),
        }

    def console(self, *consoles: Example, start_in: Path | None = None) -> None:
        """Run consoles in one bash, and compare the output of each command with the example.

        Processes that they leave in the background are killed at the end.

        Args:
            consoles: The blocks, in order.
            start_in: The first working directory, instead of the directory of this shell.
        """
        wanted = [(example, step) for example in consoles for step in steps(example.text)]
        # Each command is followed by a NUL, and leaves its exit status to the next one.
        script = "".join(
            f"{step.command}\n{{ status=$?; printf '\\0'; (exit $status); }}\n"
            for _, step in wanted
        )
        with subprocess.Popen(
            ["bash", "-c", f"exec 2>&1\n{script}"],
            cwd=start_in or self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as bash:
            try:
                out, _ = bash.communicate(timeout=PATIENCE_SECONDS * (1 + len(consoles)))
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(bash.pid, signal.SIGKILL)
        printed = out.split("\0")
        for (example, step), output in zip(wanted, printed, strict=False):
            assert agrees(step.output, output), (
                f"{example}: $ {step.command}prints\n{output}\nand not\n{step.output}"
            )
        assert len(printed) == len(wanted) + 1, f"{consoles[0]}: bash ended early: {out}"

    def python(self, example: Example, expected: Example | None = None) -> str:
        """Run a program, which must exit with 0, compare its output, and return that."""
        done = subprocess.run(
            [sys.executable, "-c", example.text],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), f"{example}: {done.stdout}{done.stderr}"
        if expected is not None:
            assert agrees(expected.text, done.stdout), f"{example} prints\n{done.stdout}"
        return done.stdout
