"""What nodedevctl prints for people: widths and colours."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from nodedevd.cli.main import main
from tests.support.hosts import HOSTS, host_file
from tests.support.search import cases


@pytest.mark.parametrize("host", cases(HOSTS))
@pytest.mark.parametrize("command", ["list --all", "tree --all", "types", "status", "in-use"])
def test_lines_have_80_columns_or_one_word(host: str, command: str) -> None:
    """Only a word that is too long itself, or a deep branch of the tree, makes a longer line."""
    arguments = ["--sysroot", str(host_file(host)), *command.split()]
    done = CliRunner(env={"COLUMNS": None}).invoke(main, arguments, prog_name="nodedevctl")
    assert done.exit_code == 0
    for line in done.stdout.splitlines():
        words = line.strip(" |+-").split("  ")
        assert len(line) <= 80 or max(map(len, words)) > 40, line


def coloured(*arguments: str, **environment: str) -> str:
    """Return what a command on a sample host prints on a terminal."""
    runner = CliRunner(env={"NO_COLOR": "", "TERM": "xterm", **environment})
    sample = str(host_file("samples"))
    return runner.invoke(main, ["--sysroot", sample, *arguments], color=True).output


def test_terminal_gets_colours() -> None:
    """Headings are bold, and an error begins in red; an empty NO_COLOR is as if unset."""
    assert coloured("types").splitlines()[1].startswith("  \x1b[1mTYPE ")
    printed = coloured("show", "nobody")
    assert printed.startswith("\x1b[31mnodedevctl:\x1b[0m no device named 'nobody'")


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
@pytest.mark.parametrize("command", ["types", "show nobody", "status"])
def test_terminal_without_colours_gets_plain_text(
    command: str, environment: dict[str, str]
) -> None:
    """The user's choice, https://no-color.org, or a terminal that has none."""
    printed = coloured(*command.split(), **environment)
    assert printed
    assert "\x1b" not in printed


def test_pipe_gets_no_colours() -> None:
    """A program reads plain text."""
    done = CliRunner().invoke(main, ["--sysroot", str(host_file("samples")), "types"])
    assert done.stdout.splitlines()[1].startswith("  TYPE ")
