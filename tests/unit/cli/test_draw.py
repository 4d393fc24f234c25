"""nodedevctl draw: pictures on standard output and in files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast
from unittest.mock import create_autospec

import pytest
from lxml import etree

from nodedevd.cli import draw as draw_module
from nodedevd.client import Client
from nodedevd.drawing.request import DrawRequest
from nodedevd.drawing.style import stylesheet
from nodedevd.follow import shared_look
from nodedevd.host.processes import OpenFiles, Process, ProcessScan, Vm
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.listing import Devices
from nodedevd.questions.in_use import VfioUsage
from tests.support.ctl import on
from tests.support.drawn import gpu_host
from tests.support.golden import DIRECTORY
from tests.support.running import REPOSITORY

HOST = "vgpu-sriov"
DOCS = REPOSITORY / "docs"


def test_picture_is_printed_or_written_to_a_file(tmp_path: Path) -> None:
    """The same text; --json has it as a text, too."""
    golden = (DIRECTORY / HOST / "picture.svg").read_text(encoding="utf-8")
    assert on(HOST).out("draw") == golden
    path = tmp_path / "host.svg"
    path.write_text("something longer" * 10_000)
    assert on(HOST).out("draw", "--output", str(path)) == ""
    assert path.read_text(encoding="utf-8") == golden
    assert on(HOST).json("draw", "--json") == {
        "generation": 1,
        "svg": golden,
        "unseen_processes": 0,
    }


def test_options_select_what_is_drawn() -> None:
    """A card by any of its devices, the theme and the width."""
    out = on("vgpu-vendor-vfio").out(
        *("draw", "--card", "0000:26:00.4", "--theme", "dark", "--width", "640")
    )
    root = etree.fromstring(out.encode())
    assert (root.get("width"), root.get("class")) == ("640", "nd nd-dark")
    assert "0000:5e:00.0" not in out


def test_mistakes_are_errors_that_say_what_is_wrong(tmp_path: Path) -> None:
    """A device, a directory, a width."""
    result = on(HOST).run("draw", "--card", "0000:99:00.0", status=1)
    assert "no device named '0000:99:00.0'" in result.stderr
    assert "No such file" in on(HOST).run("draw", "-o", str(tmp_path / "a/b"), status=1).stderr
    assert "is a directory" in on(HOST).run("draw", "-o", str(tmp_path), status=2).stderr
    on(HOST).run("draw", "--width", "10", status=2)
    on(HOST).run("draw", "--theme", "pink", status=2)


def daemon_of(sysroot: str) -> Client:
    """Return a daemon that serves a host with a GPU, and does not see all processes."""
    daemon = create_autospec(Client, instance=True)
    daemon.status.return_value.sysroot = sysroot
    daemon.snapshot.return_value = Devices(7, tuple(gpu_host(1, 4).snapshot))
    return cast("Client", daemon)


def test_this_process_looks_where_the_daemon_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root sees which VM has a vGPU open; the devices are the daemon's."""
    [first, *_] = gpu_host(1, 4).snapshot.select(["vgpu"])
    files = OpenFiles(
        Process(1, "q", Vm("db", None)), frozenset(), frozenset({first.path or ""}), 0
    )
    usage = VfioUsage({}, ProcessScan((files,), 0, False))
    monkeypatch.setattr(shared_look, "look_in_time", lambda sysroot, progress: usage)
    monkeypatch.setattr(draw_module, "Sysroot", lambda: Sysroot(str(DOCS)))
    drawing = draw_module._drawn_here(daemon_of("/"), DrawRequest())
    assert drawing is not None
    assert drawing.generation == 7
    assert drawing.unseen_processes == 0
    assert draw_module._drawn_here(daemon_of("/srv/other"), DrawRequest()) is None


def test_picture_of_the_readme_is_what_its_command_draws(tmp_path: Path) -> None:
    """The command in docs/drawing.md makes the file that README shows."""
    page = (DOCS / "drawing.md").read_text(encoding="utf-8")
    [line] = re.findall(r"^nodedevctl --sysroot fixtures/.*docs/picture.svg$", page, re.MULTILINE)
    arguments = line.partition(".ttar ")[2].split()
    path = tmp_path / "picture.svg"
    on(HOST).out(*[str(path) if one == "docs/picture.svg" else one for one in arguments])
    assert path.read_bytes() == (DOCS / "picture.svg").read_bytes()
    assert "(docs/picture.svg)" in (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_command_of_the_documentation_prints_the_style_sheet() -> None:
    """A page whose policy forbids <style> has the same rules."""
    assert 'print(stylesheet("auto"))' in (DOCS / "drawing.md").read_text(encoding="utf-8")
    golden = (DIRECTORY / HOST / "picture.svg").read_bytes()
    assert etree.fromstring(golden).findtext("{*}style") == stylesheet("auto")
