"""The commands that change a host, asking a service that answers by a script."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import Result

from nodedevd.actions.answers import (
    ControlStatus,
    InProgress,
    Leftover,
    Made,
    MadeList,
    NotApplied,
    NotStarted,
    Outcome,
)
from nodedevd.actions.plan import CreateMdev
from nodedevd.actions.requests import Request
from nodedevd.cli import in_process, waiting
from nodedevd.cli.embedded import Embedded
from nodedevd.cli.main import main
from nodedevd.cli.options import Context, ControlCommand
from nodedevd.cli.schema import CHANGES
from nodedevd.client import Control
from nodedevd.errors import CONTROL_INTERFACE, REPLIED, NodedevError, StepFailed, Vetoed
from nodedevd.varlink import encode_error, encode_reply
from tests.support.ctl import Ctl, on
from tests.support.hosts import host_file, snapshot_of
from tests.support.running import PATIENCE_SECONDS
from tests.support.scripted import Scripted, answering
from tests.unit.client.test_errors import ERRORS

UUID = "4b20d080-1b54-4048-85b3-a6a62d165c01"
MDEV = "mdev_27b42a51_9f6b_4c0b_8f5f_4f3a1d0e8c01"
STEP = CreateMdev("/sys/devices/p", "nvidia-746", UUID)


def outcome(*devices: str, steps: int = 1, notes: tuple[str, ...] = ()) -> Outcome:
    """Return the answer that a change of these devices of a sample host gets."""
    found = tuple(snapshot_of("vgpu-sriov").lookup(name) for name in devices)
    plan = (STEP,) * steps
    return Outcome(
        generation=9,
        devices=found,
        steps=tuple(map(str, plan)),
        plan=plan,
        dry_run=False,
        notes=notes,
    )


def reply(answer: msgspec.Struct) -> bytes:
    """Return an answer as a message."""
    return encode_reply(msgspec.json.encode(answer))


def refused(error: NodedevError) -> bytes:
    """Return an error as a message."""
    fields = {name: getattr(error, name) for name in error.reply_fields}
    interface = error.interface or CONTROL_INTERFACE
    return encode_error(f"{interface}.{type(error).__name__}", fields)


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Return what runs a command against a service that answers with one message."""
    return Ask(tmp_path, monkeypatch)


class Ask:
    """Runs commands; `asked` is the server of the last one."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._directory = directory
        self._monkeypatch = monkeypatch
        self.asked: Scripted

    def __call__(self, *command: str, answer: bytes, status: int = 0) -> Result:
        """Run a command, which finds the service by the environment."""
        (self._directory / "answering.sock").unlink(missing_ok=True)
        with answering(self._directory, [answer]) as self.asked:
            self._monkeypatch.setenv("NODEDEVD_CONTROL_SOCKET", self.asked.path)
            return Ctl([]).run(*command, status=status)

    @property
    def method(self) -> str:
        """The method that was called."""
        return self.asked.calls[0][0].method.removeprefix(f"{CONTROL_INTERFACE}.")


REQUESTS = [
    (
        f"create A2-4Q 0000:08:00.7 --uuid {UUID} --attribute a/b=c=d --attribute a/b=",
        "Create",
        {
            "type": "A2-4Q",
            "names": ["0000:08:00.7"],
            "uuid": UUID,
            "attributes": [{"name": "a/b", "value": "c=d"}, {"name": "a/b", "value": ""}],
        },
    ),
    ("create A2-4Q --count 3", "Create", {"type": "A2-4Q", "count": 3}),
    ("remove mdev_1", "Remove", {"name": "mdev_1"}),
    (
        "define nvidia-746 0000:08:00.7 --no-autostart",
        "Define",
        {"type": "nvidia-746", "parent": "0000:08:00.7", "autostart": False},
    ),
    ("define a p --autostart", "Define", {"type": "a", "parent": "p", "autostart": True}),
    ("undefine mdev_1 --parent p", "Undefine", {"name": "mdev_1", "parent": "p"}),
    ("start mdev_1", "Start", {"name": "mdev_1"}),
    ("start mdev_1 --parent p", "Start", {"name": "mdev_1", "parent": "p"}),
    ("stop mdev_1", "Stop", {"name": "mdev_1"}),
    ("modify mdev_1 --type b --live", "Modify", {"name": "mdev_1", "type": "b", "live": True}),
    ("modify mdev_1 --no-attributes", "Modify", {"name": "mdev_1", "attributes": []}),
    (
        "modify mdev_1 --live-only --attribute a=1",
        "Modify",
        {"name": "mdev_1", "live_only": True, "attributes": [{"name": "a", "value": "1"}]},
    ),
    (
        "modify mdev_1 --no-autostart --parent p",
        "Modify",
        {"name": "mdev_1", "parent": "p", "autostart": False},
    ),
    ("autostart mdev_1", "SetAutostart", {"name": "mdev_1", "autostart": True}),
    ("autostart mdev_1 --disable", "SetAutostart", {"name": "mdev_1", "autostart": False}),
    ("vfs 0000:3b:00.0 0", "SetVirtualFunctions", {"name": "0000:3b:00.0", "number": 0}),
    ("bind d vfio-pci", "Bind", {"name": "d", "driver": "vfio-pci"}),
    ("bind d vfio-pci --group", "Bind", {"name": "d", "driver": "vfio-pci", "group": True}),
    ("unbind d --group", "Unbind", {"name": "d", "group": True}),
]


@pytest.mark.parametrize(("command", "method", "parameters"), REQUESTS)
def test_command_asks_for_the_change_and_is_quiet(
    ask: Ask, command: str, method: str, parameters: dict[str, object]
) -> None:
    """What is not given is left to the service; what worked needs no words."""
    result = ask(*command.split(), answer=reply(outcome()))
    assert (ask.method, ask.asked.parameters(0)) == (method, parameters)
    assert result.output == ""


@pytest.mark.parametrize("command", CHANGES)
def test_every_change_takes_the_same_options(ask: Ask, command: str) -> None:
    """Who asks, whether to force it, whether to do it at all."""
    (line,) = {
        line.split()[0]: line for line, _, _ in REQUESTS if line.split()[0] == command
    }.values()
    options = ("--owner", "guest 1", "--generation", "7", "--force", "--dry-run")
    ask(*line.split(), *options, answer=reply(outcome()))
    given = ask.asked.parameters(0)
    assert {name: given[name] for name in ("owner", "generation", "force", "dry_run")} == {
        "owner": "guest 1",
        "generation": 7,
        "force": True,
        "dry_run": True,
    }


def test_every_change_is_asked_of_the_control_service() -> None:
    """Their --sysroot and --socket are described as such."""
    context = click.Context(main)
    every = {name: main.get_command(context, name) for name in main.list_commands(context)}
    commands = {name for name, one in every.items() if isinstance(one, ControlCommand)}
    assert commands == {*CHANGES, "control"}
    assert {line.split()[0] for line, _, _ in REQUESTS} == set(CHANGES)


def test_names_of_what_was_made_are_printed(ask: Ask) -> None:
    """They are for the next command; what was there already is said to be."""
    for command in (("create", "A2-4Q"), ("define", "A2-4Q", "0000:08:00.4")):
        result = ask(*command, answer=reply(outcome(MDEV)))
        assert (result.stdout, result.stderr) == (f"{MDEV}\n", "")
    result = ask("create", "A2-4Q", answer=reply(outcome(MDEV, steps=0, notes=("it existed",))))
    assert (result.stdout, result.stderr) == (f"{MDEV}\n", "note: it existed\n")
    result = ask("start", MDEV, answer=reply(outcome(MDEV, steps=0)))
    assert (result.stdout, result.stderr) == ("", "note: nothing to do: it is so already\n")


def test_json_is_the_whole_answer(ask: Ask) -> None:
    """With generation, devices, steps and notes."""
    answer = outcome(MDEV, notes=("a note",))
    result = ask("create", "A2-4Q", "--json", answer=reply(answer))
    assert msgspec.json.decode(result.stdout, type=Outcome) == answer
    assert result.stderr == ""


def test_hostdev_prints_the_xml_of_what_was_made(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each device's, ready for virsh attach-device."""
    asked: list[tuple[str | None, str | None]] = []

    def source(context: Context) -> Embedded:
        asked.append((context.sysroot, context.socket))
        return Embedded(str(host_file("vgpu-sriov")))

    monkeypatch.setattr("nodedevd.cli.options.Context.source", source)
    other = "mdev_a2c1a9b0_5c3e_4f27_b6d4_0d6e2f9b7c02"
    result = ask("create", "A2-4Q", "--hostdev", answer=reply(outcome(MDEV, other, notes=("n",))))
    assert result.stdout == (
        on("vgpu-sriov").out("hostdev", MDEV) + on("vgpu-sriov").out("hostdev", other)
    )
    assert result.stderr == "note: n\n"
    assert asked[0] == (None, None)  # the socket of the control service is no daemon's


def test_what_was_made_is_named_if_its_xml_cannot_be_printed(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there, and nothing removes it."""
    monkeypatch.setattr(
        "nodedevd.cli.options.Context.source",
        lambda context: Embedded(str(host_file("vgpu-vendor-vfio"))),
    )
    result = ask("create", "A2-4Q", "--hostdev", answer=reply(outcome(MDEV)), status=1)
    assert result.stdout == ""
    note, error = result.stderr.splitlines()
    assert note == f"note: {MDEV} was created, but its XML cannot be printed"
    assert error.startswith(f"nodedevctl: no device named '{MDEV}'")


STATUS = {
    "InvalidParameter": 2,
    "NotAllowed": 5,
    "NotPossible": 5,
    "NoRoom": 5,
    "Conflict": 5,
    "OwnedByOther": 5,
    "MadeByOther": 5,
    "Changed": 5,
    "DeviceInUse": 5,
    "CardBusy": 5,
    "StillWriting": 4,
    "NoSuchType": 6,
    "NoSuchDevice": 1,
    "Vetoed": 7,
    "StepFailed": 7,
    "NotConfirmed": 7,
}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_error_has_its_exit_status_and_says_what_to_do(ask: Ask, error: NodedevError) -> None:
    """Nothing goes to standard output; every error fits a line each for its parts."""
    result = ask(
        "stop", "mdev_1", answer=refused(error), status=STATUS.get(type(error).__name__, 1)
    )
    assert result.stdout == ""
    assert result.stderr.startswith(("nodedevctl: ", "Usage: "))
    assert type(error) in REPLIED


def test_failure_lists_what_was_undone_and_what_is_left(ask: Ask) -> None:
    """One line for each, and the next command."""
    error = StepFailed("create the mdev", "ENOSPC", "no slot is left", ("a",), ("b", "c"))
    assert ask("create", "a", answer=refused(error), status=7).stderr.splitlines() == [
        "nodedevctl: could not create the mdev: no slot is left",
        "  undone: a",
        "  NOT undone: b",
        "  NOT undone: c",
        "  nodedevctl control lists what is left, until it is gone",
    ]
    error = StepFailed("create the mdev", "ENOSPC", "no slot is left", ("a",))
    undone = ask("create", "a", answer=refused(error), status=1)
    assert undone.stderr.splitlines()[1:] == ["  undone: a"]


def test_text_of_a_driver_does_not_reach_the_terminal(ask: Ask) -> None:
    """An error may repeat what a script or a driver says."""
    error = Vetoed("/a\x07", "no\x1b[2J\nnodedevctl: all is well", ("a",), ("b",))
    result = ask("stop", "mdev_1", answer=refused(error), status=7)
    assert not {"\x1b", "\x07"} & set(result.stderr)
    assert len(result.stderr.splitlines()) == 4


def test_interrupted_command_says_that_the_change_goes_on(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service does not stop for a client that goes away."""

    def interrupted(control: Control, request: Request) -> Outcome:
        Control.get_status(control)  # so that the service has its one call
        raise KeyboardInterrupt

    monkeypatch.setattr(Control, "act", interrupted)
    result = ask("stop", MDEV, answer=reply(state()), status=1)
    assert "the service goes on with the change: nodedevctl control" in result.stderr


# -- without the service -------------------------------------------------------------------


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a user without a service."""
    monkeypatch.delenv("NODEDEVD_CONTROL_SOCKET", raising=False)
    monkeypatch.setattr("nodedevd.socket_paths.CONTROL_SOCKET_PATH", str(tmp_path / "none"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("line", [line for line, _, _ in REQUESTS])
def test_change_without_the_service_is_refused_with_the_line_that_enables_it(line: str) -> None:
    """Whatever the change is."""
    result = Ctl([]).run(*line.split(), status=3)
    assert "enable it, as root: systemctl enable --now nodedevd-control.socket" in result.stderr
    assert result.stdout == ""


@pytest.mark.usefixtures("nobody")
def test_chosen_socket_without_a_service_is_an_error_for_root_and_dry_runs_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who names a socket means it."""
    path = str(tmp_path / "chosen")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for command in (("stop", MDEV), ("stop", MDEV, "--dry-run")):
        assert path in Ctl([]).run(*command, "--socket", path, status=3).stderr
        monkeypatch.setenv("NODEDEVD_CONTROL_SOCKET", path)
        assert path in Ctl([]).run(*command, status=3).stderr
        monkeypatch.delenv("NODEDEVD_CONTROL_SOCKET")


@pytest.mark.parametrize("line", [line for line, _, _ in REQUESTS])
def test_recording_cannot_be_changed(line: str) -> None:
    """Nothing is planned either, unless that is what was asked for."""
    result = on("vgpu-sriov").run(*line.split(), status=2)
    assert "cannot be changed, only planned for; give --dry-run" in result.stderr


def test_this_host_is_changed_by_root_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """--sysroot / leaves the service out, and gives nobody its rights."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = Ctl([]).run("--sysroot", "/", "stop", MDEV, status=5)
    assert "only root changes this host" in result.stderr


# -- wrong usage -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("create", "Missing argument 'TYPE'"),
        ("create a --count 0", "0 is not in the range"),
        ("create a --count 5000", "count"),
        ("create a --uuid x", "'x' is no UUID"),
        (f"create a --count 2 --uuid {UUID}", "one UUID is not enough"),
        ("create a --attribute x", "has no '='"),
        ("create a --attribute ../x=1", "is no path below the device"),
        ("create a --attribute /x=1", "is no path below the device"),
        ("create a --hostdev --dry-run", "omit --dry-run"),
        ("create a --hostdev --json", "omit --dry-run, --json"),
        ("modify a", "give --type"),
        ("modify a --no-attributes --attribute a=b", "exclude each other"),
        ("vfs c many", "'many' is not a valid integer"),
        ("vfs c -1", "No such option"),
        ("vfs c 70000", "number"),
        ("bind d ../x", "is no name of a driver"),
        ("stop a --owner ''", "owner"),
        ("stop a --generation -1", "-1 is not in the range"),
    ],
)
def test_wrong_usage_exits_2_before_anything_is_asked(command: str, why: str) -> None:
    """The error says what is right."""
    arguments = [word.strip("'") for word in command.split()]
    result = Ctl(["--socket", "/nonexistent/socket"]).run(*arguments, status=2)
    assert why in result.stderr


# -- nodedevctl control ------------------------------------------------------------------------


def state(**more: object) -> ControlStatus:
    """Return the state of a service."""
    idle: dict[str, object] = {
        "version": "1.0",
        "pid": 7,
        "sysroot": "/",
        "started": "2026-11-28T19:00:00Z",
        "source": "daemon",
        "clients": 1,
        "changes": 3,
        "failures": 1,
        "queued": 0,
        "in_progress": (),
        "leftovers": (),
        "not_started": (),
        "configuration": {"groups": ["nodedevd"]},
    }
    return ControlStatus(**{**idle, **more})  # type: ignore[arg-type]


@contextmanager
def serving(directory: Path, status: ControlStatus, made: MadeList) -> Iterator[Ctl]:
    """Return nodedevctl, asking a service with this state."""
    with answering(directory, [reply(made), reply(status)]) as server:
        yield Ctl(["--socket", server.path], columns=80)


MADE = MadeList(
    generation=9,
    devices=(
        Made(name="mdev_1", origin="client", owner="guest1", uid=0, type="a", made="now"),
        Made(name="mdev_2", origin="other"),
    ),
)


def test_control_shows_the_state_and_whose_devices_are(tmp_path: Path) -> None:
    """A quiet service takes a few lines."""
    with serving(tmp_path, state(), MADE) as ctl:
        out = ctl.out("control")
    lines = out.splitlines()
    assert "process 7, version 1.0" in out
    assert lines[-3].split() == ["ORIGIN", "OWNER", "TYPE", "DEVICE"]
    assert lines[-2].split() == ["client", "guest1", "a", "mdev_1"]
    assert lines[-1].split() == ["other", "-", "-", "mdev_2"]


def test_control_shows_what_hangs_and_what_is_left(tmp_path: Path) -> None:
    """And what waits for its parent; every line fits a terminal."""
    busy = state(
        in_progress=(
            InProgress(
                action="remove",
                cards=("pci_1",),
                step="remove the mdev x of /sys/devices/p",
                seconds=61.5,
                hangs=True,
                uid=0,
                pid=9,
            ),
        ),
        leftovers=(
            Leftover(
                number=3, action="create", cards=("pci_2",), left=("create y: EIO",), since="now"
            ),
        ),
        not_started=(
            NotStarted(uuid=UUID, parent="0000:08:00.7", detail="absent", tries=2, waits=True),
        ),
        not_applied=(
            NotApplied(entry="a", card="pci_3", state="drifted", detail="EIO", tries=2, waits=True),
            NotApplied(entry="b", card=None, state="pending", detail="no", tries=0, waits=True),
        ),
        queued=2,
    )
    with serving(tmp_path, busy, MadeList(generation=1, devices=())) as ctl:
        out = ctl.out("control")
    text = " ".join(out.split())
    assert "the driver has not answered for 62 s: remove the mdev x" in text
    assert "asked by process 9 of root" in text
    assert "NOT undone: create y: EIO" in text
    assert f"{UUID} on 0000:08:00.7 is not started: absent" in text
    assert "Layout: 2 cards not as declared" in text
    assert "pci_3 is drifted: EIO; tried again after 2 attempts" in text
    assert "b is pending: no" in text
    assert "2 waiting" in text
    assert max(map(len, out.splitlines())) <= 80


def test_control_as_json_is_the_report(tmp_path: Path) -> None:
    """With all of both answers."""
    with serving(tmp_path, state(), MADE) as ctl:
        found = ctl.json("control", "--json")
    assert found["generation"] == 9
    assert found["service"]["configuration"] == {"groups": ["nodedevd"]}
    assert found["devices"][0]["owner"] == "guest1"
    assert found["socket"] == ctl.options[1]


@pytest.mark.usefixtures("nobody")
def test_control_without_the_service_says_how_to_enable_it() -> None:
    """The exit status is that of a missing service."""
    assert "nodedevd-control.socket" in Ctl([]).run("control", status=3).stderr


# -- progress ----------------------------------------------------------------------------------


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_change_that_takes_long_is_shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, and the line is gone in the end."""
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(waiting, "QUIET_SECONDS", 0.001)
    with waiting.waiting("create a\x1b"):
        until = time.monotonic() + PATIENCE_SECONDS
        while "create a\\x1b: 0 s" not in terminal.getvalue():
            assert time.monotonic() < until
            time.sleep(0.001)
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_change_is_quiet_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log gets no counting seconds."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(waiting, "QUIET_SECONDS", 0.0)
    with waiting.waiting("create a"):
        pass
    assert stream.getvalue() == ""


def test_change_in_this_process_is_not_interrupted(capsys: pytest.CaptureFixture[str]) -> None:
    """Signals are held back until it is made or undone; then the process ends by them."""
    before = signal.getsignal(signal.SIGTERM)
    done: list[str] = []

    def change() -> None:
        with in_process.uninterrupted():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            done.append("all of it")

    with pytest.raises(SystemExit) as ended:
        change()
    assert done == ["all of it"]
    assert ended.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    assert capsys.readouterr().err.count("ending as soon as") == 1


@pytest.mark.parametrize("early", [True, False])
def test_process_that_only_waits_is_ended_at_once(early: bool) -> None:
    """Whether the signal came before or while it waits."""
    done: list[str] = []

    def change() -> None:
        with in_process.uninterrupted() as interruptible:
            if early:
                os.kill(os.getpid(), signal.SIGINT)
            done.append("made")
            with interruptible():
                os.kill(os.getpid(), signal.SIGINT)
                done.append("waited")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as ended:
        change()
    assert done == ["made"]
    assert ended.value.code == 128 + signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is before
