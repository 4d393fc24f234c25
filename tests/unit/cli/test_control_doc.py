"""docs/control.md: its commands print what it shows, and its tables are complete and true."""

from __future__ import annotations

import re
import shlex

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from nodedevd.actions import remove, stop
from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.ownership import Origin, Record
from nodedevd.actions.requests import Remove, Stop
from nodedevd.cli import options
from nodedevd.cli.main import main
from nodedevd.cli.schema import CHANGES
from nodedevd.errors import CONTROL_INTERFACE, REPLIED, MadeByOther, OwnedByOther
from nodedevd.host.assignment import AssignmentFacts
from nodedevd.host.processes import ProcessScan
from nodedevd.questions.in_use import VfioUsage
from tests.support.guides import DOCS, Step, agrees, examples, steps
from tests.support.hosts import snapshot_of
from tests.support.running import REPOSITORY

PAGE = DOCS / "control.md"
TEXT = PAGE.read_text("utf-8")
STEPS = [step for one in examples(PAGE, "console") for step in steps(one.text)]
DEFINED = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
CLOSED = VfioUsage(processes=ProcessScan((), 0, hidden=False))
MADE = Record(
    subject=DEFINED,
    origin="client",
    owner=None,
    uid=0,
    type="nvidia-746",
    generation=7,
    made="2026-11-28T19:00:00Z",
)


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


def section(heading: str) -> str:
    """Return a section of the page."""
    return TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_page_names_every_command_error_and_exit_status() -> None:
    """Each in the table of its section."""
    commands = section("The commands")
    for name in (*CHANGES, "control"):
        assert re.search(rf"`(nodedevctl )?{name}\b", commands), name
    errors = {one.__name__ for one in REPLIED if one.interface == CONTROL_INTERFACE}
    assert errors <= set(re.findall(r"`(\w+)`", section("Failure and undo")))
    statuses = {
        value
        for name, value in vars(options).items()
        if re.fullmatch(r"EXIT_[A-Z_]+", name) and isinstance(value, int)
    }
    listed = set(map(int, re.findall(r"^\| (\d) \|", section("Exit status"), re.MULTILINE)))
    assert listed == {0, 2, *statuses}


def test_every_link_leads_to_a_heading() -> None:
    """Also those of other pages to this one."""
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in TEXT.splitlines()
        if line.startswith(("## ", "### "))
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= headings
    for page in (*DOCS.rglob("*.md"), REPOSITORY / "README.md"):
        assert set(re.findall(r"control\.md#([\w-]+)\)", page.read_text("utf-8"))) <= headings


ALLOWED: list[tuple[Origin, str | None, str | None, bool, bool]] = [
    # origin, its owner, the owner that is given: remove, stop
    ("client", "guest1", "guest1", True, True),
    ("client", "guest1", "guest2", False, False),
    ("client", "guest1", None, False, False),
    ("client", None, None, True, True),
    ("client", None, "guest1", False, False),
    ("definition", None, None, False, True),
    ("definition", None, "guest1", False, False),
    ("definition", "guest1", "guest1", False, True),
    ("definition", "guest1", None, False, False),
    ("domain", "guest1", "guest1", False, False),
    ("layout", None, None, False, False),
    ("other", None, None, False, False),
    ("other", None, "guest1", False, False),
]
"""The table of who may do what to whose."""


@pytest.mark.parametrize("force", [False, True], ids=["", "force"])
@pytest.mark.parametrize(("origin", "owner", "given", "may_remove", "may_stop"), ALLOWED)
def test_table_of_who_may_do_what_holds(
    origin: Origin,
    owner: str | None,
    given: str | None,
    may_remove: bool,
    may_stop: bool,
    force: bool,
) -> None:
    """Without force as in the table, with force always; another generation never."""
    record = replace(MADE, origin=origin, owner=owner)
    facts = ActionFacts(
        usage=CLOSED,
        assignment=AssignmentFacts(),
        records={} if origin == "other" else {DEFINED: record},
        callouts=False,
    )
    snapshot = snapshot_of("vgpu-sriov")
    refused = (MadeByOther, OwnedByOther)
    removal = Remove(name=DEFINED, owner=given, force=force)
    stopping = Stop(name=DEFINED, owner=given, force=force)
    if may_remove or force:
        assert remove.plan(snapshot, facts, removal).steps
    else:
        with pytest.raises(refused):
            remove.plan(snapshot, facts, removal)
    if may_stop or force:
        assert stop.plan(snapshot, facts, stopping).steps
    else:
        with pytest.raises(refused):
            stop.plan(snapshot, facts, stopping)
