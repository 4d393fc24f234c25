"""Usage errors of the services; tests/daemon has those of nodedevctl."""

from __future__ import annotations

import importlib

import click
import pytest
from click.testing import CliRunner

SERVICES = [
    "nodedevd.command",
    "nodedevd.control.__main__",
    "nodedevd.metrics.__main__",
    "nodedevd.publish.__main__",
]


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> click.Command:
    """Return the command of a service."""
    command = importlib.import_module(request.param).main
    assert isinstance(command, click.Command)
    return command


def test_usage_errors_repeat_no_control_characters(service: click.Command) -> None:
    """A terminal would act on them."""
    result = CliRunner().invoke(service, ["--\x1b[31mred"])
    assert result.exit_code == 2
    assert r"--\x1b[31mred" in result.output
    assert "\x1b" not in result.output


@pytest.mark.parametrize("mode", ["", "8", "1000", "-1", "rw"])
@pytest.mark.parametrize("name", SERVICES[:2])
def test_what_is_no_file_mode_is_refused(name: str, mode: str) -> None:
    """Nothing is served with a mode that was not meant."""
    command = importlib.import_module(name).main
    result = CliRunner().invoke(command, [f"--socket-mode={mode}"])
    assert result.exit_code == 2
    assert f"{mode!r} is no file mode; give three octal digits" in result.output
