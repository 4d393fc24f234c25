"""nodedevd-control as a process: who may connect, when it ends, and what a crash leaves."""

from __future__ import annotations

import grp
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import varlink

from nodedevd.client import Control
from nodedevd.errors import (
    CardBusy,
    Changed,
    DeviceInUse,
    InvalidParameter,
    NoControl,
    NodedevError,
    NotConfirmed,
    OwnedByOther,
    StillWriting,
)
from nodedevd.varlink import encode_call
from tests.support.controlling import COMMAND, PATIENT, SOCKET, activated, controlling
from tests.support.fifo_kernel import FifoKernel, fifo_kernel
from tests.support.running import PATIENCE_SECONDS, started

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
NOBODY = 65534


@pytest.fixture
def host(tmp_path: Path) -> Iterator[FifoKernel]:
    """Return a host with mtty."""
    with fifo_kernel(tmp_path / "host") as made:
        yield made


@pytest.fixture
def directory() -> Iterator[Path]:
    """Return a directory in which every user may connect to a socket."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def journal(host: FifoKernel) -> list[str]:
    """Return the names of the files in the journal."""
    return os.listdir(host.root / "run/nodedevd/control/journal")


# -- calls -------------------------------------------------------------------------------------


def test_mdev_is_created_listed_and_removed(host: FifoKernel, tmp_path: Path) -> None:
    """By its owner; others are refused, and the answers say why."""
    with controlling(tmp_path, host.root), Control(str(tmp_path / SOCKET)) as control:
        made = control.create("mtty-1", uuid=UUID, owner="vm-7")
        assert host.mdevs == {UUID}
        assert [device.sysname for device in made.devices] == [UUID]
        [listed] = control.list().devices
        assert (listed.owner, listed.origin, listed.generation) == (
            *("vm-7", "client"),
            made.generation,
        )
        assert control.create("mtty-1", uuid=UUID, owner="vm-7").steps == ()
        host.wait_removable(UUID)
        with pytest.raises(OwnedByOther):
            control.remove(UUID, owner="vm-8")
        with pytest.raises(Changed):
            control.remove(UUID, owner="vm-7", generation=made.generation - 1)
        # The processes of this machine are not those of the host of files.
        with pytest.raises(DeviceInUse):
            control.remove(UUID, owner="vm-7", generation=made.generation)
        control.remove(UUID, owner="vm-7", generation=made.generation, force=True)
        assert host.mdevs == set()
        status = control.get_status()
        assert (status.changes, status.failures) == (3, 3)
    assert journal(host) == []


def test_layout_is_applied_and_followed(host: FifoKernel, tmp_path: Path) -> None:
    """Asked for; and, with the directory of its unit, by itself when a file wants it kept."""
    file = host.root / "etc/nodedevd/layout.d/mtty.toml"
    file.parent.mkdir(parents=True)
    entry = f'[[card]]\nparent = "mtty"\nmdevs = [{{ uuid = "{UUID}", type = "mtty-1" }}]\n'
    file.write_text(entry)
    with controlling(tmp_path, host.root), Control(str(tmp_path / SOCKET)) as control:
        planned = control.apply_layout(dry_run=True)
        assert ([one.state for one in planned.cards], host.mdevs) == (["drifted"], set())
        [card] = control.apply_layout(card="mtty", wait_seconds=600).cards
        assert (card.state, card.refusals, len(card.steps)) == ("in-sync", (), 2)
        assert host.mdevs == {UUID}
        [made] = control.list().devices
        assert (made.origin, made.owner) == ("layout", None)
        assert [one.steps for one in control.apply_layout().cards] == [()]
        host.wait_removable(UUID)
        control.remove(UUID, force=True)
    file.write_text(f"{entry}keep = true\n")
    (host.root / "run/nodedevd/layout").mkdir(mode=0o700)
    with controlling(tmp_path, host.root), Control(str(tmp_path / SOCKET)) as control:
        until(lambda: host.mdevs == {UUID})
        until(lambda: control.get_status().not_applied == ())
    assert journal(host) == []


def test_reference_client_understands_the_interface(host: FifoKernel, tmp_path: Path) -> None:
    """Written by the authors of Varlink: it checks calls and replies against the text."""
    with controlling(tmp_path, host.root):
        client = varlink.Client(f"unix:{tmp_path / SOCKET}")
        with client.open("org.nodedevd.Control", namespaced=True) as control:
            planned = control.Create(type="mtty-1", dry_run=True)
            assert planned.dry_run
            assert len(planned.steps) == len(planned.plan) == 1
            made = control.Create(type="mtty-1", owner="vm-7")
            assert made.devices[0].driver == "mtty"
            assert control.List().devices[0].owner == "vm-7"
            assert control.GetStatus().changes == 1
            with pytest.raises(varlink.VarlinkError) as raised:
                control.Create(type="mtty-9")
            assert raised.value.error() == "org.nodedevd.Control.NoSuchType"


def test_client_that_goes_away_does_not_stop_its_change(host: FifoKernel, tmp_path: Path) -> None:
    """It is carried out, and logged."""
    path = host.create_path()
    host.hang(path)
    with controlling(tmp_path, host.root) as service:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(tmp_path / SOCKET))
            parameters = {"type": "mtty-1", "uuid": UUID, "owner": "vm-7"}
            sock.sendall(encode_call("org.nodedevd.Control.Create", parameters))
            until(lambda: journal(host))
        host.resume(path)
        service.wait_logged(f"create {UUID} mtty-1 for 'vm-7', asked by")
        assert host.mdevs == {UUID}
        with Control(str(tmp_path / SOCKET)) as control:
            assert [one.owner for one in control.list().devices] == ["vm-7"]


def test_driver_that_hangs_costs_its_card_and_is_shown(host: FifoKernel, tmp_path: Path) -> None:
    """The client is answered in time, others are refused, and the end is told in the log."""
    path = host.create_path()
    host.hang(path)
    limits = f"{PATIENT}write_seconds = 0.2\nlock_seconds = 0.1\n"
    with (
        controlling(tmp_path, host.root, configuration=limits) as service,
        Control(str(tmp_path / SOCKET)) as control,
    ):
        with pytest.raises(StillWriting):
            control.create("mtty-1", uuid=UUID)
        [hanging] = control.get_status().in_progress
        assert hanging.hangs
        assert UUID in hanging.step
        assert hanging.pid == os.getpid()
        with pytest.raises(CardBusy):
            control.create("mtty-2")
        host.resume(path)
        service.wait_logged("the driver has answered")
        until(lambda: not control.get_status().in_progress)
        assert host.mdevs == {UUID}
        assert control.create("mtty-2").devices


def test_hostile_messages_cost_their_own_connection_alone(host: FifoKernel, tmp_path: Path) -> None:
    """No JSON, too long, unknown methods, parameters of other types: each has its error."""
    with controlling(tmp_path, host.root):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(tmp_path / SOCKET))
            sock.settimeout(PATIENCE_SECONDS)
            sock.sendall(b"{\0" + b'{"method":"x"}\0' + b"x" * (70 << 10) + b"\0")
            sock.sendall(encode_call("org.nodedevd.Control.Destroy", {}))
            data = b""
            while data.count(b"\0") < 4:
                data += sock.recv(1 << 16)
        errors = [json.loads(one)["error"].rpartition(".")[2] for one in data.split(b"\0")[:-1]]
        assert errors == [
            "MalformedMessage",
            "InvalidParameter",
            "MessageTooLarge",
            "MethodNotFound",
        ]
        with Control(str(tmp_path / SOCKET)) as control:
            with pytest.raises(InvalidParameter):
                control.create("mtty-1", attributes={"../../x": "1"})
            assert control.get_status().changes == 0


# -- who may -----------------------------------------------------------------------------------

ASK = """
import os, sys
from nodedevd.client import Control
path, uid, *groups = sys.argv[1:]
os.setgroups([int(one) for one in groups])
os.setgid(int(uid)); os.setuid(int(uid))
try:
    with Control(path) as control:
        print(len(control.create("mtty-1", dry_run=True).steps))
except Exception as error:
    print(type(error).__name__, error)
"""


def ask_as(directory: Path, *ids: int) -> str:
    """Ask for a dry run as another user, in these groups."""
    command = [sys.executable, "-c", ASK, str(directory / SOCKET), *map(str, ids)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    return ran.stdout.strip() or ran.stderr


@pytest.mark.needs("root")
def test_socket_is_for_its_group_and_calls_are_for_the_groups_of_the_configuration(
    host: FifoKernel, directory: Path
) -> None:
    """Each of the two is checked by itself."""
    allowed = next(one for one in grp.getgrall() if one.gr_gid not in (0, NOBODY))
    text = f'groups = ["{allowed.gr_name}"]\n'
    with controlling(directory, host.root, configuration=text):
        path = directory / SOCKET
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert ask_as(directory, NOBODY).startswith("NoControl")
        os.chown(path, 0, 4242)
        assert ask_as(directory, NOBODY, 4242).startswith("NotAllowed")
        assert ask_as(directory, NOBODY, 4242, allowed.gr_gid) == "1"
        path.chmod(0o666)
        assert ask_as(directory, NOBODY).startswith("NotAllowed")
        assert ask_as(directory, 0) == "1"


def test_without_the_service_a_write_is_refused_with_the_line_that_enables_it(
    tmp_path: Path,
) -> None:
    """The error of the client says it."""
    with pytest.raises(NoControl, match=r"systemctl enable --now nodedevd-control\.socket"):
        Control(str(tmp_path / SOCKET)).create("mtty-1")


# -- start and end -----------------------------------------------------------------------------


def test_idle_service_ends_and_a_busy_one_does_not(host: FifoKernel, tmp_path: Path) -> None:
    """With a socket of systemd: as long as a client is connected, or a change is in progress."""
    text = "[limits]\nidle_seconds = 0.3\n"
    service = activated(tmp_path, host.root, text)
    try:
        with Control(str(tmp_path / SOCKET)) as control:
            until(lambda: control.get_status().clients == 1)
            with pytest.raises(subprocess.TimeoutExpired):
                service.wait(1.0)
            assert control.get_status().pid == service.pid
        assert service.wait(PATIENCE_SECONDS) == 0
    finally:
        service.kill()
        service.wait()


def test_hanging_write_keeps_the_service(host: FifoKernel, tmp_path: Path) -> None:
    """Its client has its answer and is gone; the service waits to confirm the change."""
    host.hang(host.create_path())
    text = f"{PATIENT}idle_seconds = 0.3\nwrite_seconds = 0.1\n"
    service = activated(tmp_path, host.root, text)
    try:
        with Control(str(tmp_path / SOCKET)) as control, pytest.raises(StillWriting):
            control.create("mtty-1", uuid=UUID)
        with pytest.raises(subprocess.TimeoutExpired):
            service.wait(1.0)
        host.resume(host.create_path())
        assert service.wait(PATIENCE_SECONDS) == 0
        assert host.mdevs == {UUID}
        assert journal(host) == []
    finally:
        service.kill()
        service.wait()


def test_service_of_a_socket_of_its_own_does_not_end(host: FifoKernel, tmp_path: Path) -> None:
    """Nobody would start it again for the next client."""
    text = "[limits]\nidle_seconds = 0.1\n"
    with (
        controlling(tmp_path, host.root, configuration=text) as service,
        pytest.raises(subprocess.TimeoutExpired),
    ):
        service.process.wait(1.0)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_stop_waits_for_a_change_in_progress(
    host: FifoKernel, tmp_path: Path, signum: signal.Signals
) -> None:
    """Its client gets the answer, and only then the service ends."""
    path = host.create_path()
    host.hang(path)
    with controlling(tmp_path, host.root) as service:
        answers: list[object] = []

        def create() -> None:
            with Control(str(tmp_path / SOCKET)) as control:
                answers.append(control.create("mtty-1", uuid=UUID).generation)

        thread = threading.Thread(target=create)
        thread.start()
        until(lambda: journal(host))
        service.process.send_signal(signum)
        service.wait_logged("stopping")
        host.resume(path)
        thread.join(PATIENCE_SECONDS)
        assert len(answers) == 1
        assert service.wait_ended() == 0
    assert journal(host) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("polkitt = true\n", "control.toml, line 1: unknown key 'polkitt'; allowed are groups"),
        ("[limits]\nactions = 'x'\n", "control.toml, line 2: actions in [limits] is 'x'; give"),
    ],
)
def test_mistake_in_the_configuration_ends_the_start(
    host: FifoKernel, tmp_path: Path, text: str, words: str
) -> None:
    """With its line, and an exit status of its own."""
    file = tmp_path / "control.toml"
    file.write_text(text)
    arguments = ("--sysroot", str(host.root), "--scan", "--config", str(file))
    with started(tmp_path, *arguments, command=COMMAND) as service:
        assert service.wait_ended() == 4
        assert words in service.log


# -- crashes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "created"),
    [
        *(("doing:0", 0), ("done:0", 1), ("journal:1", 1), ("doing:1", 1), ("done:1", 2)),
        *(("confirming", 2), ("confirmed", 2), ("records", 2)),
    ],
)
def test_start_after_a_crash_takes_up_what_was_in_progress(
    host: FifoKernel, tmp_path: Path, point: str, created: int
) -> None:
    """Nothing half is left: all is undone, or all is there with its owner."""
    environment = {"NODEDEVD_CONTROL_STOP_AT": point}
    file = tmp_path / "patient.toml"
    file.write_text(PATIENT)
    arguments = [
        *("--sysroot", str(host.root), "--scan", "--socket", str(tmp_path / SOCKET)),
        *("--config", str(file)),
    ]
    with started(tmp_path, *arguments, environment=environment, command=COMMAND) as service:
        service.wait_notified("READY=1")
        with Control(str(tmp_path / SOCKET)) as control, pytest.raises(NodedevError):
            control.create("mtty-1", count=2, owner="vm-7")
        assert service.wait_ended() == -signal.SIGKILL
    assert len(journal(host)) == 1
    until(lambda: len(host.mdevs) == created)
    for uuid in host.mdevs:
        host.wait_removable(uuid)
    with controlling(tmp_path, host.root), Control(str(tmp_path / SOCKET)) as control:
        assert journal(host) == []
        status = control.get_status()
        assert (status.in_progress, status.leftovers) == ((), ())
        # The played kernel may do later what is written to it.
        until(lambda: len(control.list().devices) == len(host.mdevs) != 1)
        made = control.list().devices
        assert len(made) in (0, 2)
        assert {one.owner for one in made} <= {"vm-7"}


def test_recovery_that_hangs_costs_its_card_alone(host: FifoKernel, tmp_path: Path) -> None:
    """The service is ready all the same, shows it, and takes it up when the driver answers."""
    environment = {"NODEDEVD_CONTROL_STOP_AT": "confirming"}
    arguments = ("--sysroot", str(host.root), "--scan", "--socket", str(tmp_path / SOCKET))
    with started(tmp_path, *arguments, environment=environment, command=COMMAND) as service:
        service.wait_notified("READY=1")
        with Control(str(tmp_path / SOCKET)) as control, pytest.raises(NodedevError):
            control.create("mtty-1", uuid=UUID)
        assert service.wait_ended() == -signal.SIGKILL
    host.wait_removable(UUID)
    # What was made is not what it should be: it is undone, and that hangs.
    [entry] = (host.root / "run/nodedevd/control/journal").iterdir()
    entry.write_text(entry.read_text().replace('"phase":"confirming"', '"phase":"undoing"'))
    entry.write_text(entry.read_text().replace('"index":1', '"index":0'))
    remove = f"{host.parent}/{UUID}/remove"
    host.hang(remove)
    script = (
        "import nodedevd.control.daemon as daemon, nodedevd.control.__main__ as main;"
        "daemon.RECOVER_SECONDS = 0.5; main.main()"
    )
    command = (sys.executable, "-c", script)
    with started(tmp_path, *arguments, command=command) as service:
        service.wait_notified("READY=1")
        service.wait_logged("an interrupted change is still being taken up")
        with Control(str(tmp_path / SOCKET)) as control:
            [progress] = control.get_status().in_progress
            assert UUID in progress.step
            host.resume(remove)
            until(lambda: not journal(host))
            until(lambda: not host.mdevs)
            assert control.create("mtty-1").devices
        assert service.stop() == 0


def test_change_that_is_not_confirmed_is_undone(host: FifoKernel, tmp_path: Path) -> None:
    """A driver that takes the write and does nothing."""
    path = host.create_path()
    file = host.root / path.lstrip("/")
    host.hang(path)
    file.unlink()
    file.write_text("")
    text = "[limits]\nconfirm_seconds = 0.2\n"
    with (
        controlling(tmp_path, host.root, configuration=text),
        Control(str(tmp_path / SOCKET)) as control,
    ):
        with pytest.raises(NotConfirmed):
            control.create("mtty-1", uuid=UUID)
        assert control.get_status().leftovers == ()
    assert journal(host) == []
