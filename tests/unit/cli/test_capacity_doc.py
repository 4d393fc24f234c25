"""docs/capacity.md: its commands print what it shows, and it explains every reason."""

from __future__ import annotations

import shlex

import pytest
from click.testing import CliRunner

from nodedevd.cli.main import main
from tests.support.guides import DOCS, Step, agrees, examples, steps
from tests.support.running import REPOSITORY

STEPS = [step for one in examples(DOCS / "capacity.md", "console") for step in steps(one.text)]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.command.strip())
def test_command_of_the_page_prints_what_it_shows(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands are run in a clone."""
    monkeypatch.chdir(REPOSITORY)
    program, *arguments = shlex.split(step.command)
    assert program == "nodedevctl"
    printed = CliRunner().invoke(main, arguments, prog_name=program).output
    assert agrees(step.output, printed), printed
