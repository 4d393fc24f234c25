"""polkit is asked on the system bus: a bus of the test's own, with an authority that is played."""

from __future__ import annotations

import grp
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from jeepney import HeaderFields, Message, MessageType, new_error, new_method_return
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import DBusConnection, open_dbus_connection

from nodedevd.client import Control
from nodedevd.control import polkit
from nodedevd.control.asker import Asker, this_process
from nodedevd.errors import NotAllowed
from tests.support.controlling import SOCKET, controlling
from tests.support.fifo_kernel import fifo_kernel
from tests.support.libvirt_clients import LibvirtClients
from tests.support.running import PATIENCE_SECONDS

NOBODY = 65534

pytestmark = pytest.mark.needs("dbus-daemon")

CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/>
<allow own="*"/><allow user="*"/></policy></busconfig>
"""


class Authority:
    """Answers as polkit does.

    Attributes:
        asked: the subjects, actions, details and flags that it was asked about.
        answer: returns whether an action is allowed; raises what an error reply says.
    """

    def __init__(self, bus: DBusConnection) -> None:
        self.asked: list[tuple[tuple[str, dict[str, Any]], str, dict[str, str], int]] = []
        self.answer: Callable[[str], bool] = lambda action: True
        self._bus = bus
        bus.send_and_get_reply(message_bus.RequestName("org.freedesktop.PolicyKit1"))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for it to notice that its bus has ended."""
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        with suppress(OSError, ValueError):  # the bus has ended
            while True:
                message = self._bus.receive()
                if message.header.message_type is MessageType.method_call:
                    self._bus.send(self._reply(message))

    def _reply(self, message: Message) -> Message:
        assert message.header.fields[HeaderFields.member] == "CheckAuthorization"
        subject, action, details, flags, _ = message.body
        self.asked.append((subject, action, details, flags))
        try:
            return new_method_return(message, "(bba{ss})", ((self.answer(action), False, {}),))
        except LookupError as error:
            name = "org.freedesktop.PolicyKit1.Error.Failed"
            return new_error(message, name, "s", (str(error),))


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authority]:
    """Start a system bus, and an authority on it."""
    path = tmp_path / "bus"
    file = tmp_path / "bus.conf"
    file.write_text(CONFIGURATION.format(path=path))
    bus = subprocess.Popen(
        ["dbus-daemon", f"--config-file={file}", "--nofork", "--nopidfile", "--print-address=1"],
        stdout=subprocess.PIPE,
    )
    try:
        assert bus.stdout is not None
        assert bus.stdout.readline()
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={path}")
        with open_dbus_connection("SYSTEM") as connection:
            authority = Authority(connection)
            yield authority
            bus.terminate()
            authority.join()
    finally:
        bus.terminate()
        bus.communicate(timeout=PATIENCE_SECONDS)


def test_permission_is_that_of_libvirt_for_this_process(authority: Authority) -> None:
    """All that a method needs, each asked about the process that has connected."""
    me = this_process()
    polkit.check("Create", me)
    assert [action for _, action, _, _ in authority.asked] == [
        "org.libvirt.api.node-device.write",
        "org.libvirt.api.node-device.start",
    ]
    (kind, about), _, details, flags = authority.asked[0]
    assert kind == "unix-process"
    assert {name: value for name, (_, value) in about.items()} == {
        "pid": os.getpid(),
        "start-time": me.started,
        "uid": os.geteuid(),
    }
    assert (details["method"], flags) == ("Create", 0)


@pytest.mark.parametrize("method", polkit.PERMISSIONS)
def test_each_permission_can_be_refused(authority: Authority, method: str) -> None:
    """One that is missing is enough."""
    polkit.check(method, this_process())
    for permission in polkit.PERMISSIONS[method]:
        refused = f"org.libvirt.api.node-device.{permission}"
        authority.answer = lambda action, refused=refused: action != refused  # type: ignore[misc]
        with pytest.raises(NotAllowed, match=refused):
            polkit.check(method, this_process())


def test_unknown_action_is_refused(authority: Authority) -> None:
    """Where libvirt is not installed, polkit knows none of its actions."""

    def unknown(action: str) -> bool:
        raise LookupError(f"Action {action} is not registered")

    authority.answer = unknown
    with pytest.raises(NotAllowed, match=r"polkit does not answer: Action .* is not registered"):
        polkit.check("Remove", this_process())


def test_no_answer_in_time_is_refused(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A polkit that hangs allows nothing."""
    go = threading.Event()
    monkeypatch.setattr(polkit, "ANSWER_SECONDS", 0.1)
    authority.answer = lambda action: go.wait(PATIENCE_SECONDS)
    with pytest.raises(NotAllowed, match="polkit cannot be asked"):
        polkit.check("Remove", this_process())
    go.set()


def test_process_that_has_ended_is_not_asked_about(authority: Authority) -> None:
    """Its pid may be another's."""
    with pytest.raises(NotAllowed):
        polkit.check("Remove", Asker(1, 0, 0, frozenset(), "", None))
    assert authority.asked == []


@pytest.mark.needs("root")
def test_client_that_is_spoken_for_is_asked_about(authority: Authority, tmp_path: Path) -> None:
    """Not root, which speaks; before anything of its call is parsed, and each time."""
    group = next(one for one in grp.getgrall() if one.gr_gid not in (0, NOBODY))
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        directory.chmod(0o755)  # for the client
        host = stack.enter_context(fifo_kernel(tmp_path / "host"))
        libvirt = stack.enter_context(closing(LibvirtClients(directory)))
        text = f'groups = ["{group.gr_name}"]\nlibvirt_sockets = ["{libvirt.path}"]\n'
        configuration = f"polkit = true\n{text}"
        stack.enter_context(controlling(directory, host.root, configuration=configuration))
        accepted = libvirt.accepted(NOBODY, group.gr_gid)
        with Control(str(directory / SOCKET), speaks_for=accepted) as control:
            control.authorise("Remove")
            authority.answer = lambda action: False
            with pytest.raises(NotAllowed, match=r"polkit refuses .*node-device\.stop"):
                control.authorise("Remove")
            with pytest.raises(NotAllowed, match=r"polkit refuses .*node-device\.write"):
                control.create("no-such-type")
        [client] = libvirt.processes
    for (_, about), _, _, _ in authority.asked:
        assert (about["pid"][1], about["uid"][1]) == (client.pid, NOBODY)
    assert [details["method"] for _, _, details, _ in authority.asked] == [
        *("Remove", "Remove", "Create")
    ]
