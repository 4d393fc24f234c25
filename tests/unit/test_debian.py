"""Debian's packages are those of this version, and install what there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from nodedevd import __version__
from tests.support.running import REPOSITORY
from tests.support.units import UNITS

DEBIAN = REPOSITORY / "debian"
CONTROL = (DEBIAN / "control").read_text()


def test_version_is_that_of_the_project() -> None:
    """The newest entry of the changelog has it."""
    match = re.match(r"nodedevd \(([^)]*)\)", (DEBIAN / "changelog").read_text())
    assert match is not None
    assert match[1] == __version__


def test_build_needs_what_the_project_depends_on() -> None:
    """In the same versions: dh_python3 makes the packages' dependencies of these."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    for one in project["dependencies"]:
        name, _, version = one.partition(">=")
        assert f" python3-{name} (>= {version}),\n" in CONTROL, one


@pytest.mark.parametrize("path", sorted(UNITS.iterdir()), ids=lambda path: path.name)
def test_unit_is_in_one_package(path: Path) -> None:
    """Each unit, drop-in and rule, by .install files or by debhelper's own names."""
    files = [*DEBIAN.glob("*.install"), *DEBIAN.glob("*.sysusers")]
    named = [
        file.name
        for file in files
        if file.resolve() == path.resolve()
        or (file.suffix == ".install" and f"systemd/{path.name} " in file.read_text())
    ]
    assert len(named) == 1, named


def test_program_is_in_one_package() -> None:
    """Of all programs that the wheel has."""
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    lines = "".join(file.read_text() for file in DEBIAN.glob("*.install")).splitlines()
    for name in scripts:
        assert lines.count(f"usr/bin/{name}") == 1, name
