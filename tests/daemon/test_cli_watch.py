"""nodedevctl events and wait, as processes, on a daemon whose host changes.

The host consists of files, which the daemon reads again many times a second. Each change is one
system call, so that no scan sees half of it.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from nodedevd.client import Client, Event
from nodedevd.model.device import Device
from tests.support import namespace
from tests.support.changing_host import (
    GPU,
    GPU_NAME,
    MDEV_NAME,
    NET_NAME,
    NIC,
    NIC_NAME,
    TYPE,
    TYPE_NAME,
    UUID,
    Host,
)
from tests.support.lines import Lines
from tests.support.running import (
    COMMAND,
    NODEDEVCTL,
    PATIENCE_SECONDS,
    REPOSITORY,
    Running,
    ctl,
    running,
    started,
)
from tests.support.watcher import Watcher
from tests.support.xml import validate

RECONCILE = ("--reconcile", "0.05")


class Ctl:
    """A running nodedevctl."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self.process = process
        self.stdout = process.stdout
        self._lines = Lines(process.stdout)

    def line(self) -> str:
        """Return the next line of its output, without the line feed.

        Without that of a card whose list of mdevs is another: it comes before or after an mdev.
        """
        while (line := self._lines.next()) == f"changed {GPU_NAME} (mdev_parent)":
            pass
        return line

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; return exit status, remaining output, and errors."""
        try:
            out, errors = self.process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired as still_running:
            self.process.kill()
            what = self.process.communicate()
            raise AssertionError(f"it did not end, and wrote {what}") from still_running
        return self.process.returncode, (self._lines.read + out).decode(), errors.decode()


class Daemon:
    """A daemon, and the nodedevctl processes that ask it."""

    def __init__(self, host: Host, process: Running, path: Path) -> None:
        self.host = host
        self.process = process
        self.path = path

    @contextmanager
    def ctl(self, *arguments: str) -> Iterator[Ctl]:
        """Start nodedevctl; it is gone in the end."""
        process = subprocess.Popen(
            [*NODEDEVCTL, "--socket", str(self.path), *arguments],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            try:
                yield Ctl(process)
            finally:
                process.kill()

    @contextmanager
    def watching(self, *arguments: str) -> Iterator[Ctl]:
        """Start nodedevctl as the only watcher, and wait until the daemon counts it as one.

        The daemon may still count a watcher that has just ended.
        """
        while self.watchers() > 0:
            pass
        with self.ctl(*arguments) as ctl:
            while self.watchers() == 0:
                assert ctl.process.poll() is None, ctl.end()
            yield ctl

    def watchers(self) -> int:
        """Return the number of watchers."""
        with Client(str(self.path)) as client:
            return client.status().watchers

    def seen(self, condition: Callable[[dict[str, Device]], bool]) -> None:
        """Wait until the devices of the daemon meet a condition."""
        with Watcher(self.path) as watcher:
            watcher.until(lambda: condition(watcher.devices))

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run nodedevctl to its end."""
        with self.ctl(*arguments) as ctl:
            return ctl.end()


@contextmanager
def serve(directory: Path, *options: str) -> Iterator[Daemon]:
    """Start a daemon on a new host."""
    host = Host(directory)
    with running(directory, directory / "host", *options) as process:
        yield Daemon(host, process, directory / "nodedevd.sock")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Return a daemon that finds the changes of its host by itself."""
    with serve(tmp_path, *RECONCILE) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon whose host does not change."""
    with serve(tmp_path_factory.mktemp("still"), "--reconcile", "0") as daemon:
        yield daemon


# events


def test_events_are_lines_with_what_happened_and_the_device(daemon: Daemon) -> None:
    """Each change is printed at once as a line, with the changed parts."""
    with daemon.watching("events") as ctl:
        daemon.host.bind()
        assert ctl.line() == f"changed {NIC_NAME} (driver)"
        daemon.host.show_mdev()
        assert ctl.line() == f"added   {MDEV_NAME}"
        daemon.host.hide_mdev()
        assert ctl.line() == f"removed {MDEV_NAME}"


def test_removed_device_between_parent_and_child_moves_the_child(daemon: Daemon) -> None:
    """Without its card, the interface moves to the root before the card is removed."""
    with daemon.watching("events", "--count", "2") as ctl:
        daemon.host.hide_nic()
        out = f"changed {NET_NAME} (parent)\nremoved {NIC_NAME}\n"
        assert ctl.end() == (0, out, "")


def test_events_end_after_count(daemon: Daemon) -> None:
    """--count counts changes only, and then the exit status is 0."""
    with daemon.watching("events", "--initial", "--count", "1", "--timeout", "600") as ctl:
        daemon.host.bind()
        status, out, errors = ctl.end()
        assert (status, errors) == (0, "")
        assert out.splitlines()[-2:] == ["ready", f"changed {NIC_NAME} (driver)"]


def test_events_with_initial_begin_with_what_there_is(daemon: Daemon) -> None:
    """Every device is `present`, parents first, then `ready`; changes follow."""
    with daemon.watching("events", "--initial") as ctl:
        assert [ctl.line() for _ in range(5)] == [
            "present computer",
            f"present {GPU_NAME}",
            f"present {NIC_NAME}",
            f"present {NET_NAME}",
            "ready",
        ]
        daemon.host.show_mdev()
        assert ctl.line() == f"added   {MDEV_NAME}"


def test_events_with_timestamp_begin_with_the_time(daemon: Daemon) -> None:
    """The time is UTC to the millisecond, in the form of `virsh event --timestamp`."""
    with daemon.watching("events", "--timestamp", "--count", "1") as ctl:
        daemon.host.bind()
        time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\+0000"
        assert re.fullmatch(rf"{time}: changed {NIC_NAME} \(driver\)", ctl.line())
        assert ctl.end() == (0, "", "")


def test_events_as_json_are_an_object_a_line(daemon: Daemon) -> None:
    """Each line is the reply of the daemon, with the device except for a removed one."""
    devices = ("--device", NIC, "--device", UUID)
    with daemon.watching("events", "--json", *devices, "--count", "3") as ctl:
        daemon.host.bind()
        changed = msgspec.json.decode(ctl.line(), type=Event)
        assert (changed.event, changed.name, changed.parts) == ("changed", NIC_NAME, ("driver",))
        assert changed.device is not None
        assert changed.device.driver == "r8169"
        daemon.host.show_mdev()
        added = msgspec.json.decode(ctl.line(), type=Event)
        assert (added.event, added.name, added.parts) == ("added", MDEV_NAME, None)
        assert added.generation > changed.generation
        daemon.host.hide_mdev()
        removed = json.loads(ctl.line())
        assert (removed["event"], removed["name"]) == ("removed", MDEV_NAME)
        assert "device" not in removed
        assert ctl.end() == (0, "", "")


def test_events_with_xml_are_followed_by_the_device(daemon: Daemon) -> None:
    """The device's document follows the line, except for a removed device."""
    with daemon.watching("events", "--xml", "--count", "2") as ctl:
        daemon.host.bind()
        assert ctl.line() == f"changed {NIC_NAME} (driver)"
        text = ""
        while not text.endswith("</device>\n"):
            text += ctl.line() + "\n"
        assert validate(text).findtext("driver/name") == "r8169"
        daemon.host.show_mdev()
        assert ctl.line() == f"added   {MDEV_NAME}"
        status, text, errors = ctl.end()
        assert (status, errors) == (0, "")
        assert validate(text).findtext("name") == MDEV_NAME


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--event", "removed"], ["removed mdev"]),
        (["--event", "added", "--event", "removed"], ["added mdev", "removed mdev"]),
        (["--cap", "mdev"], ["added mdev", "removed mdev"]),
        (["--cap", "net,pci", "--device", NIC], ["changed nic"]),
        (["--device", UUID], ["added mdev", "removed mdev"]),
        (["--device", NIC], ["changed nic"]),
        (["--device", NIC_NAME, "--device", UUID], ["added mdev", "changed nic", "removed mdev"]),
        (["--cap", "pci", "--event", "changed", "--device", NIC_NAME], ["changed nic"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_events_are_narrowed_by_options(
    daemon: Daemon, options: list[str], told: list[str]
) -> None:
    """Only changes that match all options are printed and counted."""
    with daemon.watching("events", *options, "--count", str(len(told))) as ctl:
        daemon.host.show_mdev()
        daemon.seen(lambda devices: MDEV_NAME in devices)
        daemon.host.bind()
        daemon.seen(lambda devices: devices[NIC_NAME].driver is not None)
        daemon.host.hide_mdev()
        status, out, errors = ctl.end()
        assert (status, errors) == (0, "")
        kinds = {MDEV_NAME: "mdev", NIC_NAME: "nic"}
        lines = [line.split() for line in out.splitlines()]
        assert [f"{event} {kinds[name]}" for event, name, *_ in lines] == told


def test_events_without_any_in_time_exit_with_4(still: Daemon) -> None:
    """A script can tell that nothing happened."""
    assert still.run("events", "--timeout", "0.1") == (4, "", "")


def test_events_with_some_in_time_exit_with_0(daemon: Daemon) -> None:
    """Without --count, one change is enough."""
    with daemon.watching("events", "--timeout", "3") as ctl:
        daemon.host.bind()
        assert ctl.end() == (0, f"changed {NIC_NAME} (driver)\n", "")


def test_events_with_too_few_in_time_exit_with_4(daemon: Daemon) -> None:
    """The changes so far are printed, although they are fewer than --count."""
    with daemon.watching("events", "--timeout", "3", "--count", "2") as ctl:
        daemon.host.bind()
        assert ctl.end() == (4, f"changed {NIC_NAME} (driver)\n", "")


@pytest.mark.parametrize("options", [[], ["--json"], ["--count", "3"]], ids=str)
def test_events_exit_with_0_at_ctrl_c(still: Daemon, options: list[str]) -> None:
    """Ctrl-C is the regular end."""
    with still.watching("events", *options) as ctl:
        ctl.process.send_signal(signal.SIGINT)
        assert ctl.end() == (0, "", "")


def test_events_into_a_closed_pipe_print_no_error(daemon: Daemon) -> None:
    """The pipe may be `head -n 1`."""
    with daemon.watching("events") as ctl:
        ctl.stdout.close()
        daemon.host.bind()
        ctl.process.wait(PATIENCE_SECONDS)
        assert ctl.process.stderr is not None
        assert ctl.process.stderr.read() == b""


@pytest.mark.parametrize("options", [[], ["--initial"]], ids=str)
def test_events_continue_when_the_daemon_is_restarted(tmp_path: Path, options: list[str]) -> None:
    """One line of standard error says that the daemon is away, `resync` that it is another."""
    initial = [f"present {name}" for name in ("computer", GPU_NAME, NIC_NAME, NET_NAME)]
    with serve(tmp_path, *RECONCILE) as daemon, daemon.watching("events", *options) as ctl:
        if options:
            assert [ctl.line() for _ in range(5)] == [*initial, "ready"]
        assert daemon.process.stop() == 0
        with running(tmp_path, tmp_path / "host", *RECONCILE):
            assert ctl.line() == "resync"
            if options:
                assert [ctl.line() for _ in range(5)] == [*initial, "ready"]
            daemon.host.bind()
            assert ctl.line() == f"changed {NIC_NAME} (driver)"
            ctl.process.send_signal(signal.SIGINT)
            assert ctl.end() == (0, "", lost(daemon))


@pytest.mark.parametrize(
    ("options", "change"),
    [
        (["--device", UUID], Host.show_mdev),
        (["--gone", NIC], Host.hide_nic),
        (["--parent", GPU, "--type", TYPE, "--available", "4"], lambda host: host.offer(4)),
    ],
    ids=["device", "gone", "available"],
)
def test_wait_continues_when_the_daemon_is_restarted(
    tmp_path: Path, options: list[str], change: Callable[[Host], None]
) -> None:
    """What changes meanwhile counts; while the daemon is away, counts cannot be asked for."""
    with serve(tmp_path, *RECONCILE) as daemon, daemon.watching("wait", *options) as ctl:
        assert daemon.process.stop() == 0
        change(daemon.host)
        with pytest.raises(subprocess.TimeoutExpired):
            ctl.process.wait(1.5)
        with running(tmp_path, tmp_path / "host", *RECONCILE):
            assert ctl.end() == (0, "", lost(daemon))


def test_wait_times_out_while_the_daemon_is_away(tmp_path: Path) -> None:
    """What was known of the devices is not reported as if it were true now."""
    options = ("--device", UUID, "--timeout", "3")
    with serve(tmp_path, *RECONCILE) as daemon, daemon.watching("wait", *options) as ctl:
        assert daemon.process.stop() == 0
        late = "nodedevctl: timed out after 3 s: the daemon does not answer\n"
        assert ctl.end() == (4, "", lost(daemon) + late)


def lost(daemon: Daemon) -> str:
    """Return the line that says that the daemon went away."""
    return (
        f"nodedevctl: lost the connection to the daemon on {daemon.path}: it closed the"
        " connection; waiting for the daemon\n"
    )


# wait

PRESENT = [
    ["--cap", "pci", "--count", "2"],
    ["--cap", "net", "--cap", "storage"],
    ["--device", NIC_NAME],
    ["--device", NIC],
    ["--device", "/sys/devices/pci0000:00/0000:02:00.0"],
    ["--gone", UUID],
    ["--gone", "pci_ffff_00_00_0"],
    ["--parent", GPU, "--type", TYPE],
    ["--parent", GPU_NAME, "--type", TYPE_NAME, "--available", "1"],
    ["--parent", GPU, "--type", TYPE, "--available", "0"],
]
LATE = {
    ("--cap", "pci", "--count", "3"): "2 of 3 devices with pci",
    ("--cap", "mdev"): "0 of 1 devices with mdev",
    ("--cap", "mdev,pci", "--count", "9"): "2 of 9 devices with mdev or pci",
    ("--device", UUID): f"no device '{UUID}'",
    ("--device", "eth0"): "no device 'eth0'",
    ("--gone", NIC_NAME): f"{NIC_NAME} is still there",
    ("--gone", NIC): f"{NIC} is still there",
    ("--parent", GPU, "--type", TYPE, "--available", "2"): f"1 of 2 {TYPE} available on {GPU}",
    ("--parent", NIC, "--type", TYPE): f"{NIC} does not offer {TYPE}",
    ("--parent", "0000:ff:00.0", "--type", TYPE): "no device '0000:ff:00.0'",
}
NEVER = {
    ("--gone", "computer"): "computer is the host itself",
    ("--device", "nope!"): "'nope!' is no device name, UUID, PCI address or path below /sys",
    ("--device", "0000:02:00"): "'0000:02:00' is no device name, UUID, PCI address or path",
    ("--device", UUID[:-1]): f"'{UUID[:-1]}' is no device name",
    ("--device", ""): "'' is no device name",
    ("--parent", "/dev/vfio/1", "--type", TYPE): "'/dev/vfio/1' is no device name",
    (
        "--parent",
        GPU,
        "--type",
        "nvidia-7",
    ): f"{GPU_NAME} does not offer nvidia-7; it offers {TYPE}",
    ("--parent", "computer", "--type", TYPE): "computer cannot be divided into vGPUs",
}


@pytest.mark.parametrize("options", PRESENT, ids=" ".join)
def test_wait_for_a_condition_that_holds_ends_at_once(still: Daemon, options: list[str]) -> None:
    """A condition that holds is not waited for, even with a timeout of 0."""
    assert still.run("wait", *options) == (0, "", "")
    assert still.run("wait", *options, "--timeout", "0") == (0, "", "")


@pytest.mark.parametrize(("options", "state"), LATE.items(), ids=str)
def test_wait_without_success_exits_with_4(
    still: Daemon, options: tuple[str, ...], state: str
) -> None:
    """After the timeout, the error says how far the condition holds."""
    errors = f"nodedevctl: timed out after 0.1 s: {state}\n"
    assert still.run("wait", *options, "--timeout", "0.1") == (4, "", errors)


@pytest.mark.parametrize(("options", "reason"), NEVER.items(), ids=str)
def test_wait_for_what_can_never_come_true_is_refused(
    still: Daemon, options: tuple[str, ...], reason: str
) -> None:
    """Without a timeout, the command would run for ever."""
    status, out, errors = still.run("wait", *options)
    assert (status, out) == (1, "")
    assert errors.startswith(f"nodedevctl: this can never come true: {reason}")


@pytest.mark.parametrize(
    ("options", "change"),
    [
        (["--cap", "mdev"], Host.show_mdev),
        (["--cap", "mdev,net", "--count", "2"], Host.show_mdev),
        (["--device", UUID], Host.show_mdev),
        (["--device", UUID.upper()], Host.show_mdev),
        (["--device", f"{MDEV_NAME}_0000_01_00_0"], Host.show_mdev),
        (["--gone", NIC], Host.hide_nic),
        (["--parent", GPU, "--type", TYPE, "--available", "4"], lambda host: host.offer(4)),
        (["--parent", GPU, "--type", TYPE_NAME, "--available", "2"], lambda host: host.offer(4)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wait_ends_when_the_condition_holds(
    daemon: Daemon, options: list[str], change: Callable[[Host], None]
) -> None:
    """The command runs until the change, and no longer."""
    with daemon.watching("wait", *options) as ctl:
        daemon.host.bind()
        daemon.seen(lambda devices: devices[NIC_NAME].driver is not None)
        assert ctl.process.poll() is None
        change(daemon.host)
        assert ctl.end() == (0, "", "")


def test_inactive_mdev_is_not_present(daemon: Daemon) -> None:
    """For every condition, an inactive mdev counts as not present."""
    daemon.host.tree.definition(GPU, UUID, TYPE)
    daemon.seen(lambda devices: MDEV_NAME in devices)
    assert daemon.run("wait", "--gone", UUID, "--timeout", "0") == (0, "", "")
    status, _, errors = daemon.run("wait", "--device", UUID, "--timeout", "0.1")
    assert (status, errors.partition(": ")[2].partition(": ")[2]) == (
        *(4, f"no device '{UUID}'; {MDEV_NAME} is defined, but not active\n"),
    )
    assert daemon.run("wait", "--cap", "mdev", "--timeout", "0.1")[0] == 4
    with daemon.watching("wait", "--device", UUID) as ctl:
        daemon.host.show_mdev()
        assert ctl.end() == (0, "", "")
    with daemon.watching("wait", "--gone", UUID) as ctl:
        daemon.host.hide_mdev()
        assert ctl.end() == (0, "", "")


def test_wait_for_an_mdev_waits_until_it_is_complete(daemon: Daemon) -> None:
    """An mdev without a type cannot be used."""
    link = f"{daemon.host.mdev}/mdev_type"
    kind = f"{daemon.host.gpu}/mdev_supported_types/{TYPE}"
    (daemon.host.directory / UUID / "mdev_type").unlink()
    with daemon.watching("wait", "--device", UUID) as ctl:
        daemon.host.show_mdev()
        daemon.seen(lambda devices: MDEV_NAME in devices)
        assert ctl.process.poll() is None
        daemon.host.tree.kernel_link(link, kind)
        assert ctl.end() == (0, "", "")


def test_wait_for_the_layout_ends_when_the_host_is_as_declared(daemon: Daemon) -> None:
    """With a definition, although the mdev is not active; a file that cannot be used is refused."""
    entry = (
        f'[[card]]\naddress = "{GPU}"\nmdevs = [\n'
        f'  {{ uuid = "{UUID}", type = "{TYPE_NAME}", active = false }},\n]\n'
    )
    file = "/etc/nodedevd/layout.d/gpu.toml"
    assert daemon.run("wait", "--layout") == (0, "", "")
    daemon.host.tree.file(file, entry)
    status, _, errors = daemon.run("wait", "--layout", "--timeout", "0.1")
    assert status == 4
    assert f"{GPU_NAME} is drifted; nodedevctl layout status shows why" in errors
    with daemon.watching("wait", "--layout") as ctl:
        daemon.host.tree.definition(GPU, UUID, TYPE)
        assert ctl.end() == (0, "", "")
    daemon.host.tree.file(file, entry.replace("mdevs", "mdev"))
    status, _, errors = daemon.run("wait", "--layout")
    assert status == 1
    assert f"{file}:3" in errors


def test_wait_for_instances_asks_for_counts_that_change_without_an_event(tmp_path: Path) -> None:
    """Some drivers change counts without an event, so the daemon is asked repeatedly."""
    with serve(tmp_path, "--reconcile", "0", "--count-age", "0") as daemon:
        options = ("wait", "--parent", GPU, "--type", TYPE, "--available")
        daemon.host.offer(2)
        assert daemon.run(*options, "2", "--timeout", "0") == (0, "", "")
        with daemon.watching(*options, "4") as ctl:
            daemon.host.offer(4)
            assert ctl.end() == (0, "", "")


def test_wait_for_a_device_that_was_shortly_there_goes_on(daemon: Daemon) -> None:
    """For --cap with --count, the devices must be present at the same time."""
    with daemon.watching("wait", "--cap", "mdev,pci", "--count", "3") as ctl:
        daemon.host.hide_nic()
        daemon.seen(lambda devices: NIC_NAME not in devices)
        daemon.host.show_mdev()
        daemon.seen(lambda devices: MDEV_NAME in devices)
        assert ctl.process.poll() is None
        daemon.host.show_nic()
        assert ctl.end() == (0, "", "")


def test_wait_ends_at_ctrl_c_as_a_failure(still: Daemon) -> None:
    """The condition does not hold."""
    with still.watching("wait", "--cap", "mdev") as ctl:
        ctl.process.send_signal(signal.SIGINT)
        status, out, _ = ctl.end()
        assert (status, out) == (1, "")


# wrong usage

WRONG = [
    "events --count 0",
    "events --timeout -1",
    "events --event present",
    "events --cap nothing",
    "events --json extra",
    "wait",
    "wait --timeout 1",
    "wait --cap nothing",
    "wait --cap pci --device computer",
    "wait --device computer --gone computer",
    "wait --parent 0000:01:00.0",
    "wait --type nvidia-746",
    "wait --device computer --type nvidia-746",
    "wait --cap pci --count 0",
    "wait --parent 0000:01:00.0 --type nvidia-746 --available -1",
]


@pytest.mark.parametrize("command", WRONG)
def test_wrong_usage_is_reported_and_exits_with_2(still: Daemon, command: str) -> None:
    """Contradictory options are refused before the command waits."""
    status, out, errors = still.run(*command.split())
    assert (status, out) == (2, "")
    assert errors.startswith("Usage: nodedevctl ")
    assert "\nError: " in errors


@pytest.mark.parametrize("command", [["events"], ["wait", "--cap", "pci"]])
def test_scan_without_daemon_cannot_be_followed(tmp_path: Path, command: list[str]) -> None:
    """The error says that the command needs a daemon."""
    done = ctl("--sysroot", str(Host(tmp_path).tree.root), *command)
    assert done.returncode == 2
    assert "this command follows changes and needs a daemon; omit --sysroot" in done.stderr


@pytest.mark.parametrize("command", [["events"], ["wait", "--cap", "pci"]])
def test_no_daemon_exits_with_3(tmp_path: Path, command: list[str]) -> None:
    """Without a daemon there is nothing to wait for."""
    done = ctl("--socket", str(tmp_path / "none"), *command, "--timeout", "0.1")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"nodedevctl: no nodedevd answers on {tmp_path}/none")


@pytest.mark.parametrize("command", ["events", "wait"])
def test_help_has_examples_and_exit_status(command: str) -> None:
    """Each example has a line of its own."""
    out = ctl(command, "--help").stdout
    examples = [line for line in out.splitlines() if line.startswith(f"    nodedevctl {command} ")]
    assert len(examples) >= 2
    assert "4 timed out" in " ".join(out.split())


@pytest.mark.needs("namespaces")
def test_events_of_the_real_kernel_are_printed(tmp_path: Path) -> None:
    """An interface of this kernel is added, changes its address, and is removed."""
    path = tmp_path / "nodedevd.sock"
    with (
        namespace.Namespace() as own,
        started(
            tmp_path,
            *("--socket", str(path), "--events", "kernel"),
            environment={"PYTHONPATH": str(REPOSITORY)},
            command=[*own.enter, *COMMAND],
        ) as process,
    ):
        process.wait_notified("READY=1")
        daemon = Daemon(Host(tmp_path), process, path)
        with daemon.watching("events", "--cap", "net", "--count", "4") as ctl:
            own.ip("link add br0 address 52:54:00:00:00:01 type bridge")
            assert ctl.line() == "added   net_br0_52_54_00_00_00_01"
            own.ip("link set br0 address 52:54:00:00:00:02")
            assert ctl.line() == "added   net_br0_52_54_00_00_00_02"
            assert ctl.line() == "removed net_br0_52_54_00_00_00_01"
            own.ip("link del br0")
            assert ctl.end() == (0, "removed net_br0_52_54_00_00_00_02\n", "")
