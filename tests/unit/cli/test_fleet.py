"""nodedevctl --fleet: what commands print of hosts in every state, and how they are asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from nodedevd.cli.fleet import common
from nodedevd.cli.fleet.commands import COMMANDS
from nodedevd.client.errors import TimedOut
from nodedevd.client.fleet.access import Access
from nodedevd.client.fleet.bucket import Entry
from nodedevd.client.fleet.errors import FleetUnreachable, NoTree
from nodedevd.client.fleet.hosts import Host, Hosts, host_at, records
from nodedevd.client.fleet.tree import Tree
from nodedevd.client.fleet.values import alive_key, summary_key
from nodedevd.client.fleet.watching import FleetEvent
from nodedevd.model.listing import Devices
from tests.support.ctl import Ctl
from tests.support.golden import Golden
from tests.support.hosts import snapshot_of
from tests.unit.client.fleet.test_hosts import NOW, entries

CTL = Ctl(["--fleet", "nats://nowhere.invalid:4222"], columns=80)


def bucket() -> dict[str, Entry]:
    """Return what a bucket has of hosts in every state."""
    return {
        **entries("kvm1", age=3),
        **entries("kvm2", age=4, sample="vgpu-sriov"),
        **entries("kvm3", age=4, sample="vgpu-vendor-vfio"),
        **entries("gone", age=400),
        **entries("left", age=9000, alive={"daemon": "left"}),
        **entries("lost", alive={"daemon": "absent"}),
        **entries("late", alive={"behind": 60.0}),
        **entries("new"),
        summary_key("new"): Entry(b'{"v":2}', 9, NOW),
        alive_key("half"): entries()[alive_key("a")],
        **entries("junk"),
        alive_key("junk"): Entry(b"\x1b[2J", 9, NOW),
    }


class PlayedWatch:
    """Tells that all hosts are known."""

    def __init__(self) -> None:
        self.ready: FleetEvent | None = FleetEvent("ready")

    def __enter__(self) -> PlayedWatch:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    @property
    def own_clock(self) -> bool:
        """As the fleet."""
        return PlayedFleet.own_clock

    def next(self, timeout: float | None) -> FleetEvent | None:
        """Return an event, and no other one."""
        ready, self.ready = self.ready, None
        return ready

    def wait_for(
        self, reached: Callable[[list[Host]], bool], what: str, timeout: float | None
    ) -> list[Host]:
        """Return the hosts if the condition holds."""
        found = list(PlayedFleet(Access(())).hosts().hosts)
        if not reached(found):
            raise TimedOut(what, timeout or 0)
        return found


class PlayedFleet:
    """Answers as a fleet does."""

    own_clock = False

    def __init__(self, servers: Access) -> None:
        self.servers = servers

    def __enter__(self) -> PlayedFleet:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def hosts(self) -> Hosts:
        """Return all hosts."""
        found = tuple(host_at(one, NOW) for one in records(bucket()).values())
        return Hosts(NOW, self.own_clock, found)

    def watch(self) -> PlayedWatch:
        """Return a watch of the same."""
        return PlayedWatch()

    def tree_of(self, host: Host) -> Tree:
        """Return the tree of a host that is alive."""
        if host.id == "kvm1":
            raise FleetUnreachable(("nats://a",), "no answer within 5 s")
        if host.state != "alive" or host.summary is None:
            raise NoTree(host.id, "it has none")
        devices = tuple(snapshot_of("vgpu-sriov"))
        return Tree(host, host.summary, msgspec.json.encode(Devices(1, devices)))


@pytest.fixture(autouse=True)
def _played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "Fleet", PlayedFleet)


@pytest.mark.parametrize(
    ("name", "arguments", "status"),
    [
        ("hosts", ["hosts"], 0),
        ("types", ["types", "--available"], 0),
        ("fits", ["fits", "--type", "A2-4Q", "--count", "2"], 0),
        ("fits-perhaps", ["fits", "--type", "P40-4C", "--count", "9", "--pack"], 5),
    ],
)
def test_text_fits_a_terminal_and_names_what_is_not_counted(
    golden: Golden, name: str, arguments: list[str], status: int
) -> None:
    """As a person has read it."""
    result = CTL.run(*arguments, status=status)
    golden.check(f"samples/fleet-{name}.txt", result.stderr + result.stdout)
    assert [line for line in result.output.splitlines() if len(line) > 80] == []


def test_json_has_the_states_and_summaries() -> None:
    """What a program needs is not in a table."""
    hosts: Any = json.loads(CTL.run("hosts", "--json").stdout)["hosts"]
    assert {one["id"]: one["state"] for one in hosts} == {
        "kvm1": "alive",
        "kvm2": "alive",
        "kvm3": "alive",
        "gone": "gone",
        "left": "left",
        "lost": "no-daemon",
        "late": "stale",
        "new": "newer",
        "half": "incomplete",
        "junk": "unreadable",
    }
    assert [one["summary"]["devices"] for one in hosts if one["id"] == "kvm1"] == [6]
    listed = CTL.run("hosts", "--not-alive", "--json").stdout
    assert len(json.loads(listed)["hosts"]) == len(hosts) - 3


def test_tree_that_cannot_be_fetched_hides_no_other_host() -> None:
    """It is the reason of that host; the command ends only if no server answers."""
    hosts: Any = json.loads(CTL.run("list", "--json").stdout)["hosts"]
    assert {one["host"] for one in hosts if one["devices"]} == {"kvm2", "kvm3"}
    reasons = {one["host"]: one["reason"] for one in hosts}
    assert (reasons["kvm1"], reasons["gone"]) == ("no answer within 5 s", "it has none")
    assert len(hosts) == 10


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("hosts", 0),
        ("list", 0),
        ("types", 0),
        ("show kvm2 --all", 0),
        ("dumpxml kvm2 --all", 0),
        ("fits --type A2-4Q", 0),
        ("events --timeout 0.001", 4),
        ("wait --count 1", 0),
        ("wait --count 99 --timeout 1", 4),
    ],
)
def test_states_by_the_own_clock_are_said_to_be_so(
    line: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, by each command: a server before 2.10 does not tell its time."""
    said = "by this machine's clock"
    assert said not in CTL.run(*line.split(), status=status).stderr
    monkeypatch.setattr(PlayedFleet, "own_clock", True)
    assert CTL.run(*line.split(), status=status).stderr.count(said) == 1


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("--gone gone", 0),
        ("--gone gone.example", 0),
        ("--gone left", 0),
        ("--gone kvm1", 4),  # the name of a host that is gone is no other one's id
        ("--gone twice", 4),
        ("--host twice", 4),
        ("--host kvm1", 0),
        ("--gone nowhere", 4),
    ],
)
def test_host_is_waited_for_by_its_id_and_else_by_its_name(
    line: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another host of that name is not meant, and of several of that name all are."""
    names = {"gone": "kvm1", "kvm2": "twice", "left": "twice"}
    hosts = PlayedFleet(Access(())).hosts()
    named = tuple(
        msgspec.structs.replace(one, name=names[one.id])
        if one.id in names and line != "--gone gone.example"
        else one
        for one in hosts.hosts
    )
    monkeypatch.setattr(
        PlayedFleet, "hosts", lambda fleet: msgspec.structs.replace(hosts, hosts=named)
    )
    CTL.run("wait", *line.split(), "--timeout", "1", status=status)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_of_each_command_shows_an_example(command: str) -> None:
    """It fits 80 columns, and has the exit statuses."""
    out = CTL.out(command, "--help")
    assert "\n  Example" in out
    assert "Exit status: 0 " in out
    assert [line for line in out.splitlines() if len(line) > 80] == []


def test_commands_of_a_fleet_and_of_a_host_are_told_apart() -> None:
    """--fleet selects which there are."""
    listed = CTL.out("--help").partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == sorted(COMMANDS)
    assert "No such command 'doctor'" in CTL.run("doctor", status=2).stderr
    assert "nodedevctl --fleet URL hosts" in Ctl([]).run("hosts", status=2).stderr
    both = Ctl(["--sysroot", "/", "--fleet", "nats://a"]).run("hosts", status=2)
    assert "omit --sysroot" in both.stderr
    assert "give one of" in CTL.run("wait", status=2).stderr
    assert "no host 'x'" in CTL.run("show", "x", "y", status=1).stderr
    assert "give a URL" in Ctl(["--fleet", ""]).run("hosts", status=2).stderr
    assert "no such file" in Ctl(["--fleet", "/nowhere/fleet.toml"]).run("hosts", status=2).stderr
