"""nodedevctl layout: docs/layout.md prints what it shows, and its examples are layouts."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner
from jsonschema_rs import Draft202012Validator, meta

from nodedevd.cli.main import main
from nodedevd.cli.options import EXIT_NO
from nodedevd.layout.form import KEYS
from nodedevd.layout.problem import Code
from tests.support.ctl import Ctl, on
from tests.support.guides import DOCS, Step, agrees, examples, steps
from tests.support.hosts import HOSTS, host_file, unpacked
from tests.support.running import REPOSITORY
from tests.support.search import cases

PAGE = DOCS / "layout.md"
TEXT = PAGE.read_text("utf-8")
STEPS = [step for one in examples(PAGE, "console") for step in steps(one.text)]
LAYOUTS = REPOSITORY / "fixtures" / "layouts"
HOST_OF = {
    "gvtg": "igpu-gvtg",
    "network": "vdpa-smartnic",
    "nvidia-mdev": "vgpu-sriov",
    "nvidia-mig": "a100-mig",
    "nvidia-mixed": "vgpu-vendor-vfio",
    "nvidia-vendor-vfio": "vgpu-vendor-vfio",
    "nvme": "nvme-behind-vmd",
    "samples": "samples",
    "vfio-ap": "s390x-ap-ccw",
}
"""The sample host of each layout in fixtures/layouts; that of `nvme-sriov` has no such card."""
A2 = LAYOUTS / "nvidia-mdev.toml"
ETC = "/etc/nodedevd/layout.d"


@pytest.fixture(autouse=True)
def in_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are run in a clone, by a terminal of 80 columns."""
    monkeypatch.chdir(REPOSITORY)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.command.strip())
def test_command_of_the_page_prints_what_it_shows(step: Step) -> None:
    """Each command is there with all of its output."""
    program, *arguments = shlex.split(step.command)
    assert program == "nodedevctl"
    runner = CliRunner(env={"COLUMNS": "80"})
    printed = runner.invoke(main, arguments, prog_name=program).output
    assert agrees(step.output, printed), printed


def test_page_has_every_layout_as_it_is() -> None:
    """An example is a file that is tested."""
    shown = {one.text for one in examples(PAGE, "toml") if not one.text.startswith("#:schema")}
    files = {path.read_text("utf-8") for path in LAYOUTS.glob("*.toml") if path.stem != "wrong"}
    assert shown == files


@pytest.mark.parametrize("name", HOST_OF)
def test_layout_of_the_page_fits_its_host(name: str) -> None:
    """It has no problem, and what is to do can be done."""
    file = str(LAYOUTS / f"{name}.toml")
    on(HOST_OF[name]).out("layout", "check", file)
    answer = json.loads(
        on(HOST_OF[name]).run("layout", "diff", file, "--json", status=EXIT_NO).stdout
    )
    assert [one["state"] for one in answer["cards"]] == ["drifted"]
    assert [one["reasons"] for one in answer["cards"]] == [[]]


def test_file_is_checked_alone(tmp_path: Path) -> None:
    """Without a host, on which it may not be right."""
    file = str(LAYOUTS / "nvme-sriov.toml")
    assert Ctl([]).out("layout", "check", "--files-only", file) == "1 file, 1 entry: no problems\n"
    result = on("nvme-native-multipath").run("layout", "check", file, status=EXIT_NO)
    assert "it has no SR-IOV; leave virtual_functions out\n" in result.stdout
    result = Ctl([]).run("layout", "check", "--files-only", str(tmp_path / "no"), status=2)
    assert "No such file" in result.stderr


def test_page_names_every_key_and_code() -> None:
    """In the tables of their sections."""
    keys = {key for kind, keys in KEYS.items() if kind for key in keys}
    assert keys <= set(re.findall(r"`(\w+)`", TEXT))
    errors = TEXT.partition("\n## Errors\n")[2]
    assert set(get_args(Code)) == set(re.findall(r"`([a-z-]+)`", errors.partition("\n## ")[0])) - {
        "check"
    }


@pytest.mark.slow
def test_layout_of_the_host_is_that_of_its_files(tmp_path: Path) -> None:
    """Without FILE; a file with problems does not keep the others back."""
    tree = unpacked("vgpu-sriov", tmp_path)
    ctl = Ctl(["--sysroot", str(tmp_path)])
    none = "There is no layout: no file *.toml in"
    assert ctl.out("layout", "diff").startswith(none)
    assert ctl.out("layout", "check").startswith(none)
    tree.file(f"{ETC}/a2.toml", A2.read_bytes())
    tree.file(f"{ETC}/wrong.toml", "[[card]]\nadress = 1\n")
    result = ctl.run("layout", "diff", status=EXIT_NO)
    assert result.stdout.splitlines() == [
        f"{ETC}/wrong.toml:2: adress: there is no key adress; write address",
        f"pci_0000_08_00_0: drifted ({ETC}/a2.toml:2)",
        "  1. create 1 x nvidia-746 (NVIDIA A2-4Q) on pci_0000_08_00_5",
        "  2. create 1 x nvidia-746 (NVIDIA A2-4Q) on pci_0000_08_00_6",
    ]
    tree.file(f"{ETC}/wrong.toml", "")
    tree.file(f"{ETC}/a2.toml", A2.read_text("utf-8").replace("count = 4", "count = 2"))
    assert ctl.out("layout", "diff") == f"pci_0000_08_00_0: in-sync ({ETC}/a2.toml:2)\n"
    assert ctl.out("layout", "check") == "2 files, 1 entry: no problems\n"


def test_layout_is_read_from_standard_input() -> None:
    """What `show` prints is what `diff` takes."""
    shown = on("vgpu-vendor-vfio").out("layout", "show")
    arguments = ["--sysroot", str(host_file("vgpu-vendor-vfio")), "layout", "diff", "-"]
    result = CliRunner().invoke(main, arguments, input=shown)
    assert (result.exit_code, result.output) == (0, "pci_0000_26_00_0: in-sync (<stdin>:1)\n")


def test_card_that_is_missing_is_pending() -> None:
    """And `check` says so, too."""
    ctl = on("samples")
    result = ctl.run("layout", "diff", str(A2), status=EXIT_NO)
    assert result.stdout.splitlines()[1:] == ["  there is no device 0x10de:0x25b6"]
    assert ": pending (" in result.stdout
    result = ctl.run("layout", "check", str(A2), status=EXIT_NO)
    assert "the host has no PCI function 0x10de:0x25b6; see `nodedevctl list`" in result.stdout


@pytest.mark.parametrize("host", cases(HOSTS))
def test_layout_as_json_is_valid_against_the_schema_of_files(host: str) -> None:
    """A file and its JSON have one form."""
    schema = Ctl([]).json("layout", "schema")
    meta.validate(schema)
    shown = on(host).json("layout", "show", "--json")
    Draft202012Validator(schema).validate(shown)


def test_cards_are_named_in_the_way_that_is_asked_for() -> None:
    """By slots for a card that may be moved to another bus."""
    out = on("vgpu-sriov").out("layout", "show", "0000:08:00.0", "--by", "slots")
    assert 'slots = "pci0000:00/01.1/00.0/08.0/00.0"\n' in out
    result = on("vgpu-sriov").run("layout", "show", "0000:99:00.0", status=1)
    assert "there is no device" in result.stderr or "no device" in result.stderr
