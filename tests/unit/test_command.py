"""The command nodedevd: which options do not go together."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from nodedevd.__main__ import main
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
