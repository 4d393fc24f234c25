"""Following this machine's own kernel: each change is reported once, in order.

Interfaces live in a network namespace of the test's own, so nothing else happens to them. Of
the machine's other devices a zram is made and removed; the others are not looked at, since
whoever uses the machine may change them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from nodedevd.client import Event
from nodedevd.kinds.net import Net, NetLink
from nodedevd.kinds.storage import Storage
from tests.support.alone import alone_with
from tests.support.namespace import Namespace
from tests.support.needs import UDEVD
from tests.support.real_devices import others_may_change
from tests.support.running import COMMAND, PATIENCE_SECONDS, REPOSITORY, started
from tests.support.watcher import Watcher, devices_by_scan, devices_of_daemon
from tests.support.zram import ZRAM, zram

pytestmark = pytest.mark.needs("namespaces")

MAC, PEER_MAC, OTHER_MAC = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"
V0, V1 = "net_v0_52_54_00_00_00_01", "net_v1_52_54_00_00_00_02"
PAIR = f"link add v0 address {MAC} type veth peer name v1 address {PEER_MAC}"

RULES = """\
ACTION=="add", SUBSYSTEM=="net", KERNEL=="odd0", NAME="even0"
"""

needs_udevd = pytest.mark.needs("udevd")


@contextmanager
def udevd(own: Namespace, directory: Path) -> Iterator[None]:
    """Run a udevd in a namespace, without Debian's rules, which differ from host to host."""
    own.run("mount", "-t", "tmpfs", "tmpfs", "/usr/lib/udev/rules.d")
    own.run("mkdir", "-p", "/run/udev/rules.d")
    own.write("/run/udev/rules.d/10-test.rules", RULES)
    directory.mkdir()
    with started(directory, command=[*own.enter, str(UDEVD)]) as process:
        process.wait_notified("READY=1")
        yield
        assert process.stop() == 0


class Host:
    """This machine's kernel, seen from a namespace, followed by a daemon in it."""

    def __init__(self, own: Namespace, watcher: Watcher, mine: set[str]) -> None:
        self.own = own
        self.watcher = watcher
        self.mine = mine
        """names of block devices that the test has made"""

    def net(self, name: str) -> Net:
        """Return an interface as it was last reported."""
        found = self.watcher.devices[name].capability(Net)
        assert found is not None
        return found


def settles(event: Event) -> bool:
    """Return whether an interface's state, carrier or speed changed.

    The kernel works on these by itself, after the command that brought them about has returned.
    """
    return event.event == "changed" and event.parts == ("net",)


def assert_shows_the_host(path: Path, own: Namespace, mine: set[str]) -> None:
    """Wait until the daemon shows what a scan finds; interfaces may still settle."""

    def comparable(devices: dict[str, Any]) -> dict[str, Any]:
        return {
            name: device
            for name, device in devices.items()
            if name in mine or not others_may_change(name)
        }

    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = comparable(devices_by_scan(enter=own.enter))
        shown = comparable(devices_of_daemon(path))
        if shown == found:
            return
        assert time.monotonic() < deadline, (shown, found)


@contextmanager
def follow(directory: Path, *, events: str, source: str, with_udevd: bool) -> Iterator[Host]:
    """Follow the kernel from a namespace; in the end every event was reported, and all is true."""
    # A Unix socket's path is short.
    with ExitStack() as stack:
        own = stack.enter_context(Namespace())
        if with_udevd:
            stack.enter_context(udevd(own, directory / "udevd"))
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "nodedevd.sock"
        mine: set[str] = set()
        daemon = stack.enter_context(
            started(
                directory,
                *("--socket", str(path), "--events", events, "--reconcile", "0"),
                environment={"PYTHONPATH": str(REPOSITORY)},
                command=[*own.enter, *COMMAND],
            )
        )
        daemon.wait_notified("READY=1")
        watcher = stack.enter_context(
            Watcher(
                path,
                is_ours=lambda name: name.startswith("net_") or name in mine,
                settles=settles,
            )
        )
        assert watcher.status().event_source == source
        yield Host(own, watcher, mine)
        own.ip("link add fence0 address 52:54:00:00:00:ff type bridge")
        watcher.expect("added net_fence0_52_54_00_00_00_ff")
        assert_shows_the_host(path, own, mine)
        status = watcher.status()
        assert (status.overflows, status.monitor_errors, status.missed_changes) == (0, 0, 0)
        assert daemon.stop() == 0


@pytest.fixture(
    params=[
        "kernel",
        pytest.param("udev", marks=needs_udevd),
        pytest.param("auto", marks=needs_udevd),
    ]
)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    """Return the kernel, followed by its own uevents, by udevd's, and by what is found."""
    events = str(request.param)
    source = "kernel" if events == "kernel" else "udev"
    with follow(tmp_path, events=events, source=source, with_udevd=source == "udev") as host:
        yield host


def add_pair(host: Host) -> None:
    """Make two interfaces that are each other's other end."""
    host.own.ip(PAIR)
    host.watcher.expect_in_any_order(f"added {V0}", f"added {V1}")


def test_interfaces_that_come_and_go_are_told(host: Host) -> None:
    """A pair of interfaces is made and removed by one command each."""
    add_pair(host)
    assert host.net(V0).address == MAC
    assert host.watcher.devices[V0].path == "/sys/devices/virtual/net/v0"
    host.own.ip("link del v0")
    host.watcher.expect_in_any_order(f"removed {V0}", f"removed {V1}")


def test_interfaces_set_up_and_down_are_told(host: Host) -> None:
    """Of the link's state no uevent tells: it is followed all the same, to its end."""
    add_pair(host)
    host.own.ip("link set v0 up")
    host.own.ip("link set v1 up")
    lines = host.watcher.until(
        lambda: (
            [(host.net(name).link.state, host.net(name).link.speed) for name in (V0, V1)]
            == [("up", 10000)] * 2
        )
    )
    assert set(lines) == {f"changed {V0} net", f"changed {V1} net"}
    host.own.ip("link set v1 down")
    lines = host.watcher.until(
        lambda: [host.net(name).link.state for name in (V0, V1)] == ["lowerlayerdown", "down"]
    )
    assert set(lines) == {f"changed {V0} net", f"changed {V1} net"}


def test_changed_address_is_told(host: Host) -> None:
    """No uevent tells of it; the address is in the name, so one goes and one comes."""
    add_pair(host)
    host.own.ip(f"link set v0 address {OTHER_MAC}")
    host.watcher.expect("added net_v0_52_54_00_00_00_03", f"removed {V0}")


def test_renamed_interface_is_told(host: Host) -> None:
    """The kernel moves its directory: one goes and one comes."""
    add_pair(host)
    host.own.ip("link set v0 name renamed0")
    renamed = V0.replace("v0", "renamed0")
    # rtnetlink tells of it before udevd does: the old one may be found gone by then.
    host.watcher.expect_in_any_order(f"added {renamed}", f"removed {V0}")
    assert host.watcher.devices[renamed].path == "/sys/devices/virtual/net/renamed0"


def test_interface_moved_to_another_namespace_and_back_is_told(host: Host) -> None:
    """What is not in the namespace is not there; what comes back is told once."""
    add_pair(host)
    with Namespace() as other:
        host.own.ip(f"link set v0 netns {other.pid}")
        host.watcher.expect(f"removed {V0}")
        other.ip(f"link set v0 netns {host.own.pid}")
        host.watcher.expect(f"added {V0}")


def test_uevent_asked_for_tells_nothing_new(host: Host) -> None:
    """`change` written to a device's uevent arrives, and nothing has changed."""
    add_pair(host)
    before = host.watcher.status().events
    for _ in range(3):
        host.own.write("/sys/class/net/v0/uevent", "change")
    host.watcher.until_status(lambda status: status.events >= before + 3)


def test_bridge_and_its_ports_are_told(host: Host) -> None:
    """A bridge has a kind of its own, and a state that comes from its ports."""
    host.own.ip("link add br0 address 52:54:00:00:00:10 type bridge")
    br0 = "net_br0_52_54_00_00_00_10"
    host.watcher.expect(f"added {br0}")
    bridge = host.net(br0)
    assert (bridge.devtype, bridge.medium) == ("bridge", "80203")
    add_pair(host)
    host.own.ip("link set v0 master br0")
    host.own.ip("link set br0 up")
    host.own.ip("link set v0 up")
    host.own.ip("link set v1 up")
    names = (br0, V0, V1)
    lines = host.watcher.until(lambda: [host.net(name).link.state for name in names] == ["up"] * 3)
    assert set(lines) == {f"changed {name} net" for name in names}
    host.own.ip("link del br0")
    host.watcher.expect(f"removed {br0}")


def test_speed_of_a_bridge_follows_its_ports(host: Host) -> None:
    """The kernel reports the port that loses its carrier, and the bridge stays up with the other.

    An ifb has no speed, so that of the bridge becomes unknown. A macvlan on the bridge has the
    bridge's speed.
    """
    br0, upper = "net_br0_52_54_00_00_00_10", "net_upper0_52_54_00_00_00_11"
    add_pair(host)
    for command in (
        "link add br0 address 52:54:00:00:00:10 type bridge",
        "link add ifb0 type ifb",
        "link add link br0 name upper0 address 52:54:00:00:00:11 type macvlan",
        *(f"link set {port} master br0" for port in ("v0", "ifb0")),
        *(f"link set {name} up" for name in ("v0", "v1", "ifb0", "br0", "upper0")),
    ):
        host.own.ip(command)
    links = [NetLink("up", 10000)] * 2

    def shown() -> list[NetLink]:
        return [host.net(name).link for name in (br0, upper) if name in host.watcher.devices]

    host.watcher.until(lambda: shown() == links)
    host.own.ip("link set v1 down")
    host.watcher.until(lambda: shown() == [NetLink("up", None)] * 2)
    host.own.ip("link set v1 up")
    host.watcher.until(lambda: shown() == links)
    host.own.ip("link set v0 nomaster")
    host.watcher.until(lambda: shown() == [NetLink("up", None)] * 2)


def test_many_interfaces_at_once_are_all_told(host: Host) -> None:
    """A burst of a hundred interfaces, each told once as it comes and as it goes."""
    count = 100
    before = host.watcher.ours
    batch = [f"link add many{number} type bridge\n" for number in range(count)]
    host.own.run("ip", "-batch", "-", text="".join(batch))
    lines = host.watcher.until(lambda: len(host.watcher.ours) == len(before) + count)
    made = host.watcher.ours - before
    assert sorted(one for one in lines if "added" in one) == sorted(f"added {one}" for one in made)
    assert {one for one in lines if "added" not in one} <= {f"changed {one} net" for one in made}
    batch = [f"link del many{number}\n" for number in range(count)]
    host.own.run("ip", "-batch", "-", text="".join(batch))
    lines = host.watcher.until(lambda: host.watcher.ours == before)
    gone = [one for one in lines if "removed" in one]
    assert sorted(gone) == sorted(f"removed {one}" for one in made)
    assert set(lines) - set(gone) <= {f"changed {one} net" for one in made}


@pytest.fixture
def zram_control() -> Iterator[None]:
    """Keep the numbers of zram devices to this test: a number that is free is given again."""
    with alone_with(ZRAM):
        yield


@pytest.mark.needs("zram")
def test_block_device_that_comes_grows_and_goes_is_told(zram_control: None, host: Host) -> None:
    """A device of the whole machine is told in every namespace.

    Of a size that was 0 the kernel tells nothing; udevd's rules, or an administrator, have it
    send a `change`.
    """
    with zram() as sysname:
        name = f"block_{sysname}"
        host.mine.add(name)
        host.watcher.expect(f"added {name}")
        assert size(host, name) == 0
        Path(f"/sys/block/{sysname}/disksize").write_text("64M")
        host.own.write(f"/sys/block/{sysname}/uevent", "change")
        host.watcher.expect(f"changed {name} storage")
        assert size(host, name) == 64 << 20
    host.watcher.expect(f"removed {name}")


def size(host: Host, name: str) -> int | None:
    """Return a block device's size as it was last told."""
    found = host.watcher.devices[name].capability(Storage)
    assert found is not None
    return found.size_bytes


@needs_udevd
@pytest.mark.parametrize("events", ["kernel", "udev"])
def test_interface_that_udevd_renames_comes_to_its_final_name(tmp_path: Path, events: str) -> None:
    """What the kernel may tell before udevd has renamed it goes; udevd tells of it afterwards."""
    odd, even = "net_odd0_52_54_00_00_00_01", "net_even0_52_54_00_00_00_01"
    with follow(tmp_path, events=events, source=events, with_udevd=True) as host:
        host.own.ip(f"link add odd0 address {MAC} type bridge")
        devices = host.watcher.devices
        lines = host.watcher.until(lambda: even in devices and odd not in devices)
        steps = [one for one in lines if one not in {f"changed {odd} net", f"changed {even} net"}]
        if events == "udev" or f"added {odd}" not in steps:
            assert steps == [f"added {even}"]
        else:
            # It is gone before its new name is told if it was read in between.
            assert steps[0] == f"added {odd}"
            assert sorted(steps[1:]) == [f"added {even}", f"removed {odd}"]


def test_auto_follows_the_kernel_where_no_udevd_runs(tmp_path: Path) -> None:
    """A host without udevd, as a container, is followed, too."""
    with follow(tmp_path, events="auto", source="kernel", with_udevd=False) as host:
        add_pair(host)
