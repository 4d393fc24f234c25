"""The commands of the project: listed, well-formed, and `make run` from start to Ctrl-C."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.running import REPOSITORY

MAKEFILE = (REPOSITORY / "Makefile").read_text()
SYSROOT = REPOSITORY / "fixtures/sysfs/vgpu-sriov.ttar"
PATIENCE_SECONDS = 60

TARGETS = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[0].split()

pytestmark = pytest.mark.needs("make")


def environment(**more: str) -> dict[str, str]:
    """Return an environment as if no make were running already."""
    ours = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"}
    return {name: value for name, value in os.environ.items() if name not in ours} | more


def make(*arguments: str, directory: Path = REPOSITORY, **more: str) -> str:
    """Run make, which has to succeed, and return what it prints."""
    result = subprocess.run(
        ["make", *arguments],
        cwd=directory,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a directory with the Makefile, and the programs installed as if by `make run`."""
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    for name, module in (("nodedevd", "__main__"), ("nodedevctl", "cli.main"), ("pip", "none")):
        code = f"from nodedevd.{module} import main; main()"
        program = programs / name
        program.write_text(
            f'#!/bin/sh\nPYTHONPATH="{REPOSITORY}" exec "{sys.executable}" -c "{code}" "$@"\n'
        )
        program.chmod(0o755)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / ".venv/installed").touch()
    return tmp_path


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """Return a directory with a short path: that of a Unix socket has at most 107 bytes."""
    with TemporaryDirectory(prefix="run-") as name:
        yield Path(name)


def test_help_lists_every_target() -> None:
    """Whoever runs `make` sees all there is, each with what it does."""
    listed = re.findall(r"^  make (\S+) +\S", make(), re.MULTILINE)
    assert listed == TARGETS
    assert make("help") == make()


@pytest.mark.parametrize("target", TARGETS)
def test_target_has_a_recipe_that_bash_understands(target: str) -> None:
    """What make would run has no error of syntax."""
    recipe = make("-n", target)
    assert recipe
    result = subprocess.run(
        ["bash", "-n"], input=recipe, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_run_shows_what_the_daemon_knows_and_ends(project: Path, short_directory: Path) -> None:
    """Without a terminal `make run` shows a host and leaves nothing behind."""
    output = make("run", f"SYSROOT={SYSROOT}", directory=project, TMPDIR=str(short_directory))
    for command in ("status", "tree", "dumpxml"):
        assert f"$ nodedevctl {command}" in output
    assert "<capability type='mdev_parent'>" in output
    assert list(short_directory.iterdir()) == []


def test_run_of_a_directory_that_is_no_host_fails_with_the_reason(project: Path) -> None:
    """The daemon's error is shown, and nobody waits for it for ever."""
    with pytest.raises(AssertionError, match="is not a sysroot"):
        make("run", f"SYSROOT={project}", directory=project)


def test_run_that_is_interrupted_ends_without_an_error(
    project: Path, short_directory: Path
) -> None:
    """Ctrl-C is the way to end `make run`: the daemon stops, and make does not complain."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(project)
        more = environment(TMPDIR=str(short_directory))
        os.execvpe("make", ["make", "run", f"SYSROOT={SYSROOT}"], more)
    output = read_terminal(terminal, "nodedevctl --help")
    os.write(terminal, b"\x03")
    output += read_terminal(terminal, None)
    os.close(terminal)
    os.waitpid(pid, 0)
    assert "stopping" in output
    assert "***" not in output
    assert list(short_directory.iterdir()) == []


def read_terminal(terminal: int, until: str | None) -> str:
    """Return what a terminal shows until some words, or its end."""
    shown = b""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while until is None or until.encode() not in shown:
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"nothing more came: {shown.decode()}"
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # EIO: its last program ended, pty(7)
            assert until is None, shown.decode()
            break
    return shown.decode()


def test_ci_runs_the_commands_of_the_makefile() -> None:
    """CI has no commands of its own: what it does, everybody can."""
    script = REPOSITORY / ".ci/run"
    assert os.access(script, os.X_OK)
    commands = [
        line
        for line in script.read_text().splitlines()
        if line and not line.startswith(("#", "set ", "cd "))
    ]
    assert commands
    for command in commands:
        program, *targets = command.split()
        assert program == "make"
        assert {one for one in targets if "=" not in one and one[0] != "-"} <= set(TARGETS)
