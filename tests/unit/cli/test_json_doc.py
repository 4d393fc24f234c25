"""docs/json.md: its types are those of the model, and its examples are what commands print."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from nodedevd.cli.options import EXIT_NO
from nodedevd.cli.schema import COMMANDS, json_schema
from tests.support.ctl import Ctl
from tests.support.examples import agrees
from tests.support.hosts import host_file
from tests.support.json_reference import COMMAND, DOCUMENT, current
from tests.support.running import REPOSITORY

TEXT = DOCUMENT.read_text("utf-8")
EXAMPLES = re.findall(
    r"^### nodedevctl (.+?)\n.*?^```console\n\$ (.*?)\n(.*?)^```$", TEXT, re.M | re.S
)
OF_HOSTS = [(command, line, text) for command, line, text in EXAMPLES if "--sysroot" in line]


def test_types_of_the_document_are_those_of_the_model() -> None:
    """A change of the model has to be followed by the command."""
    assert current(TEXT) == TEXT, f"run: {COMMAND}"


def test_every_command_has_an_example() -> None:
    """Each one that prints JSON, once."""
    assert sorted(command for command, _, _ in EXAMPLES) == sorted(COMMANDS)


@pytest.mark.parametrize(("command", "line", "text"), OF_HOSTS)
def test_example_is_what_the_command_prints(
    command: str, line: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output agrees with the example, and is valid against the schema of the command."""
    monkeypatch.chdir(REPOSITORY)
    program, _, sysroot, *arguments = line.replace("host.ttar", str(tmp_path / "host.ttar")).split()
    assert program == "nodedevctl"
    sample = host_file(Path(sysroot).stem)
    assert sample.as_posix().endswith(sysroot)
    result = Ctl(["--sysroot", str(sample)]).invoke(*arguments)
    assert result.exit_code in (0, EXIT_NO), result.output
    printed: Any = json.loads(result.stdout)
    assert agrees(json.loads(text), printed), printed
    Draft202012Validator(json_schema(command)).validate(printed)


def test_events_of_the_example_have_the_members_of_events() -> None:
    """The example of `events` needs a daemon; its members are those of the schema."""
    [lines] = [text for command, _, text in EXAMPLES if command == "events"]
    members = json_schema("events")["$defs"]["Event"]["properties"].keys()
    for line in lines.splitlines():
        assert json.loads(line).keys() <= members


def test_every_link_leads_to_a_heading() -> None:
    """The anchors of types exist."""
    headings = {line[4:].lower() for line in TEXT.splitlines() if line.startswith("### ")}
    assert set(re.findall(r"\]\(#(\w+)\)", TEXT)) <= headings
