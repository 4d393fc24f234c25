"""The systemd units of the project, and what systemd-analyze says of units."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from pathlib import Path

from tests.support.running import REPOSITORY

UNITS = REPOSITORY / "systemd"


def analyze(*arguments: str, unit_path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze and return what it said, both streams in one.

    `unit_path` is a directory that comes before those of systemd.
    """
    first = {} if unit_path is None else {"SYSTEMD_UNIT_PATH": f"{unit_path}:"}
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "SYSTEMD_COLORS": "0", **first},
        text=True,
        check=False,
    )


def unit(name: str) -> configparser.ConfigParser:
    """Return a unit's sections; a setting that stands there twice is an error.

    What a second line of SystemCallFilter= takes away, systemd.exec(5), follows a ` ~`; the devices
    of a second line of DeviceAllow= follow a `; `.
    """
    parser = configparser.ConfigParser(interpolation=None, delimiters=["="])
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # as the manual says
    text = (UNITS / name).read_text()
    parser.read_string(
        re.sub(
            r"^(DeviceAllow=.*)\nDeviceAllow=",
            r"\1; ",
            re.sub(r"^(SystemCallFilter=.*)\nSystemCallFilter=(?=~)", r"\1 ", text, flags=re.M),
            flags=re.M,
        )
    )
    return parser
