"""The systemd units of the project, and what systemd-analyze says of units."""

from __future__ import annotations

import configparser
import os
import subprocess

from tests.support.running import REPOSITORY

UNITS = REPOSITORY / "systemd"


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze and return what it said, both streams in one."""
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "SYSTEMD_COLORS": "0"},
        text=True,
        check=False,
    )


def unit(name: str) -> configparser.ConfigParser:
    """Return a unit's sections; a setting that stands there twice is an error."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=["="])
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # as the manual says
    with (UNITS / name).open() as file:
        parser.read_file(file)
    return parser
