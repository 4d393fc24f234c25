"""nodedevctl with a daemon: the same output as without one, and errors of the connection."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from nodedevd.model.status import Status
from tests.support.ctl import Ctl, on
from tests.support.hosts import HOSTS, host_file
from tests.support.running import REPOSITORY, running


@pytest.fixture(scope="module", params=HOSTS)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Ctl, Ctl]]:
    """Return nodedevctl on each sample host, without a daemon and with one."""
    directory = tmp_path_factory.mktemp("daemon")
    with running(directory, host_file(request.param)):
        yield on(request.param), Ctl(["--socket", str(directory / "nodedevd.sock")])


@pytest.mark.parametrize(
    "command",
    [
        "list",
        "list --json",
        "list --cap system,pci",
        "list --cap mdev_types,mdev --json",
        "tree",
        "dumpxml --all",
        "dumpxml computer",
        "dumpxml --all --format libvirt",
        "dumpxml computer computer",
        "show --all",
        "show computer",
        "types",
        "types --json",
        "layout show --json",
        "schema",
    ],
)
def test_output_through_a_daemon_equals_the_embedded_one(
    both: tuple[Ctl, Ctl], command: str
) -> None:
    """The output does not depend on the source of the devices."""
    embedded, through_daemon = both
    assert through_daemon.out(*command.split()) == embedded.out(*command.split()) != ""


def test_several_devices_through_a_daemon_equal_the_embedded_ones(both: tuple[Ctl, Ctl]) -> None:
    """All devices by name, in reverse order, are printed in the given order."""
    embedded, through_daemon = both
    names = embedded.out("list").split()[::-1]
    for command in ("show", "dumpxml"):
        assert through_daemon.out(command, *names) == embedded.out(command, *names)
    shown = embedded.json("show", *names)
    assert [device["name"] for device in shown["devices"]] == names


def test_each_device_through_a_daemon_equals_the_embedded_one(both: tuple[Ctl, Ctl]) -> None:
    """Every device of a host is found by its name and by its path."""
    embedded, through_daemon = both
    for device in embedded.json("show", "--all")["devices"]:
        assert through_daemon.json("show", device["name"])["devices"] == [device]
        assert embedded.json("show", device["path"] or "computer")["devices"] == [device]


def test_status_of_a_daemon_has_its_process_and_clients(both: tuple[Ctl, Ctl]) -> None:
    """It has the process of the daemon, its clients and its events."""
    embedded, through_daemon = both
    status = msgspec.json.decode(through_daemon.out("status", "--json"), type=Status)
    assert status.clients == 1
    assert status.calls >= 1
    text = through_daemon.out("status")
    assert f"process {status.pid}\n" in text
    assert "Events:      none: only the periodic reconcile finds changes\n" in text
    missed = "0 changes without an event, 0 overflows, 0 monitor errors"
    assert f"Missed:      {missed}\nRescans:     0, planned reconciles included\n" in text
    alike = (
        "version",
        "sysroot",
        "state_counts",
        "capability_counts",
        "error_count",
        "errors",
        "privileged",
    )
    other = msgspec.json.decode(embedded.out("status", "--json"), type=Status)
    for field in alike:
        assert getattr(status, field) == getattr(other, field)


@pytest.mark.parametrize("command", ["show", "dumpxml", "types"])
def test_unknown_device_exits_1_and_names_the_nearest(both: tuple[Ctl, Ctl], command: str) -> None:
    """The error has similar names, with a daemon and without."""
    for ctl in both:
        result = ctl.run(command, "compute", status=1)
        assert result.stderr == ("nodedevctl: no device named 'compute'; did you mean computer?\n")
        assert result.stdout == ""


def test_answer_of_a_daemon_of_another_version_is_an_error_of_one_line(tmp_path: Path) -> None:
    """An answer that cannot be decoded gives no traceback."""
    path = tmp_path / "other.sock"
    child = r"""
import socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.bind(sys.argv[1])
    server.listen()
    print(flush=True)
    client, _ = server.accept()
    client.recv(1 << 16)
    client.sendall(b'{"parameters":{"generation":"new","devices":[]}}\0')
"""
    with subprocess.Popen(
        [sys.executable, "-c", child, str(path)], stdout=subprocess.PIPE
    ) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            result = Ctl(["--socket", str(path)]).run("list", status=1)
        finally:
            other.kill()
    assert result.stderr.startswith("nodedevctl: cannot decode the daemon's reply: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("list", 0),
        ("list --json", 0),
        ("tree", 0),
        ("show --all", 0),
        ("dumpxml --all", 0),
        ("types", 0),
        ("status", 0),
        ("schema", 0),
        ("in-use", 0),
        ("resolve computer", 0),
        ("--help", 0),
        ("list --help", 0),
        ("--version", 0),
        ("list --cap nothing", 2),
        ("show nothing", 1),
        ("doctor", 5),
    ],
)
def test_reader_that_leaves_changes_nothing(command: str, status: int) -> None:
    """`nodedevctl list | head -n 1` ends with 0; `doctor | head` keeps its answer."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-c", "from nodedevd.cli.main import main; main()"),
                *("--sysroot", str(host_file("vgpu-sriov")), *command.split()),
            ],
            cwd=REPOSITORY,
            stdout=writer,
            stderr=writer,
            check=False,
        )
    finally:
        os.close(writer)
    assert done.returncode == status
