"""docs/metrics.md: its command prints what it shows, and its names of systemd are right."""

from __future__ import annotations

import re
import shlex

import pytest
from click.testing import CliRunner

from nodedevd.cli.main import main
from nodedevd.metrics.family import single
from nodedevd.metrics.listening import ADDRESS
from nodedevd.metrics.report import SOCKET_PATH, systemd_name
from tests.support.guides import DOCS, Step, agrees, examples, steps
from tests.support.monitoring import MONITORING
from tests.support.running import REPOSITORY
from tests.support.units import unit

PAGE = DOCS / "metrics.md"
TEXT = PAGE.read_text()
STEPS = [step for one in examples(PAGE, "console") for step in steps(one.text)]


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


def test_page_lists_every_alert() -> None:
    """In the order of the file."""
    alerts = re.findall(r"- alert: (\w+)", (MONITORING / "alerts.yml").read_text())
    assert re.findall(r"`(Nodedev[A-Z]\w+)`", TEXT.partition("## Alerts")[2]) == alerts


def test_addresses_of_the_page_are_those_of_the_units() -> None:
    """The service listens there with systemd and without."""
    assert f"http://{ADDRESS}/metrics" in TEXT
    assert unit("nodedevd-metrics.socket")["Socket"]["ListenStream"] == ADDRESS
    assert unit("nodedevd-metrics-report.socket")["Socket"]["ListenStream"] == SOCKET_PATH
    assert SOCKET_PATH in TEXT


def test_name_of_the_page_is_that_for_systemd() -> None:
    """The words of the name, each with a capital, behind the name of the socket."""
    family = single("nodedev_vgpu_available", "gauge", "Room.", 1)
    assert systemd_name(family) == "org.nodedevd.Devices.VgpuAvailable"
    assert f"`{family.name}` is `{systemd_name(family)}`" in TEXT
    assert systemd_name(single("nodedev_events", "counter", "Events.", 1)).endswith(".EventsTotal")
