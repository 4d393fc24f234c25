"""The command nodedevd: which options do not go together."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from nodedevd import command
from nodedevd.__main__ import parsed
from nodedevd.command import main
from nodedevd.daemon import Options
from nodedevd.socket_paths import CONTROL_SOCKET_VARIABLE


@pytest.mark.parametrize("path", [None, ""])
def test_changes_are_not_made_on_another_host_than_is_served(
    path: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control service of this host would make them; the error says what to do."""
    monkeypatch.delenv(CONTROL_SOCKET_VARIABLE, raising=False)
    if path is not None:
        monkeypatch.setenv(CONTROL_SOCKET_VARIABLE, path)
    result = CliRunner().invoke(main, ["--sysroot", "/nowhere", "--libvirt-writes"])
    assert result.exit_code == 2
    assert f"${CONTROL_SOCKET_VARIABLE}" in result.output


def test_option_says_what_it_does() -> None:
    """In its help."""
    assert "--libvirt-writes" in CliRunner().invoke(main, ["--help"]).output


def test_paths_alone_mean_the_same_without_click(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start of the unit, and of most users, does not load the command line's library."""
    served: list[Options] = []
    monkeypatch.setattr(command, "serve", lambda options, verbose: served.append(options))
    for arguments in ([], ["--sysroot", "/a", "--libvirt-socket", "b"], ["--socket", "c"]):
        CliRunner().invoke(main, arguments)
        paths: dict[str, Any] = {**(parsed(arguments) or {})}
        assert [Options(**paths)] == served
        served.clear()


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], ["-v"], ["--socket"], ["--socket", ""], ["--socket", "--sysroot"]),
        *(["--socket=a"], ["a", "b"], ["--socket", "a", "--socket", "b"], ["--poll", "1"]),
    ],
)
def test_all_else_is_left_to_click(arguments: list[str]) -> None:
    """It knows the other options, and what is wrong."""
    assert parsed(arguments) is None
