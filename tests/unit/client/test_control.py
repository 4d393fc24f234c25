"""The client of the control service in both forms, against a server that answers by a script."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest

from nodedevd.actions.answers import ControlStatus, Leftover, Made, MadeList, Outcome
from nodedevd.actions.plan import CreateMdev, RemoveMdev
from nodedevd.actions.requests import REQUESTS, Attribute, Create, Request, claim_of
from nodedevd.client import (
    ConnectionLost,
    Control,
    InvalidParameter,
    NoControl,
    NoDaemon,
    OwnedByOther,
    StepFailed,
)
from nodedevd.client.connection import DaemonConnection
from nodedevd.errors import NotAllowed
from nodedevd.socket_paths import CONTROL_SOCKET_PATH
from nodedevd.varlink import encode_error, encode_reply
from tests.support.forms import CONTROL_FORMS
from tests.support.scripted import answering

INTERFACE = "org.nodedevd.Control"
UUID = "4b20d080-1b54-4048-85b3-a6a62d165c01"

ControlForm: TypeAlias = Callable[..., Control]

DONE = Outcome(
    generation=7,
    devices=(),
    steps=(f"create the mdev {UUID} of type a on /sys/devices/p",),
    plan=(CreateMdev("/sys/devices/p", "a", UUID), RemoveMdev("/sys/devices/p", None, UUID)),
    dry_run=False,
    notes=("it is new",),
)


@pytest.fixture(params=CONTROL_FORMS, ids=["blocking", "asyncio"])
def form(request: pytest.FixtureRequest) -> ControlForm:
    """Return what makes a client, in either form."""
    made: ControlForm = request.param
    return made


def reply(answer: msgspec.Struct) -> bytes:
    """Return an answer as a message."""
    return encode_reply(msgspec.json.encode(answer))


CALLS: list[tuple[str, Callable[[Control], Outcome], dict[str, object]]] = [
    (
        "Create",
        lambda control: control.create(
            "A2-4Q", "0000:08:00.0", uuid=UUID.upper(), attributes={"a/b": "1"}, owner="vm-7"
        ),
        {
            "type": "A2-4Q",
            "names": ["0000:08:00.0"],
            "uuid": UUID,
            "attributes": [{"name": "a/b", "value": "1"}],
            "owner": "vm-7",
        },
    ),
    ("Create", lambda control: control.create("a", count=3), {"type": "a", "count": 3}),
    (
        "Remove",
        lambda control: control.remove(UUID, generation=7, force=True),
        {"name": UUID, "generation": 7, "force": True},
    ),
    (
        "Define",
        lambda control: control.define(
            "a", "p", autostart=True, attributes=[("a", "1"), ("a", "2")], dry_run=True
        ),
        {
            "type": "a",
            "parent": "p",
            "autostart": True,
            "attributes": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}],
            "dry_run": True,
        },
    ),
    ("Undefine", lambda control: control.undefine(UUID, parent="p"), {"name": UUID, "parent": "p"}),
    ("Start", lambda control: control.start(UUID, parent="p"), {"name": UUID, "parent": "p"}),
    ("Stop", lambda control: control.stop(UUID, owner="x"), {"name": UUID, "owner": "x"}),
    (
        "Modify",
        lambda control: control.modify(UUID, wanted="b", attributes={}, live=True),
        {"name": UUID, "type": "b", "attributes": [], "live": True},
    ),
    (
        "Modify",
        lambda control: control.modify(UUID, attributes={"a": "1"}, live_only=True),
        {"name": UUID, "attributes": [{"name": "a", "value": "1"}], "live_only": True},
    ),
    (
        "SetAutostart",
        lambda control: control.set_autostart(UUID),
        {"name": UUID, "autostart": True},
    ),
    (
        "SetAutostart",
        lambda control: control.set_autostart(UUID, False, parent="p"),
        {"name": UUID, "autostart": False, "parent": "p"},
    ),
    (
        "SetVirtualFunctions",
        lambda control: control.set_virtual_functions("c", 0),
        {"name": "c", "number": 0},
    ),
    (
        "Bind",
        lambda control: control.bind("d", "vfio-pci", group=True),
        {"name": "d", "driver": "vfio-pci", "group": True},
    ),
    ("Unbind", lambda control: control.unbind("d"), {"name": "d"}),
]


def test_every_change_has_a_method() -> None:
    """Of each request there is a call below."""
    assert {kind.__name__ for kind in REQUESTS.values()} == {name for name, _, _ in CALLS}


@pytest.mark.parametrize(("method", "call", "parameters"), CALLS, ids=lambda one: str(one)[:20])
def test_change_is_asked_for_and_its_answer_decoded(
    tmp_path: Path,
    form: ControlForm,
    method: str,
    call: Callable[[Control], Outcome],
    parameters: dict[str, object],
) -> None:
    """What is None is left out, and what the service decodes is the request."""
    with answering(tmp_path, [reply(DONE)]) as server, form(server.path) as control:
        assert call(control) == DONE
    assert server.calls[0][0].method == f"{INTERFACE}.{method}"
    assert server.parameters(0) == parameters
    (kind,) = [one for one in REQUESTS.values() if one.__name__ == method]
    assert isinstance(msgspec.convert(parameters, kind), Request)


def with_client(form: ControlForm, path: str, speaks_for: socket.socket) -> None:
    """Ask for something that is refused."""
    with form(path, speaks_for=speaks_for) as control:
        control.remove(UUID)


NOTHING = encode_reply(b"{}")


def test_every_connection_begins_by_speaking_for_the_client(
    tmp_path: Path, form: ControlForm
) -> None:
    """Its socket comes along; so it does with the connection that replaces one that was lost."""
    first, second = socket.socketpair()
    scripts = [NOTHING, reply(DONE)], [NOTHING, NOTHING]
    with first, second, answering(tmp_path, *scripts) as server:
        with form(server.path, speaks_for=first) as control:
            assert control.remove(UUID) == DONE
            with suppress(ConnectionLost):  # noticed before the call, or by it
                control.authorise("Create")
            if len(server.calls) < 2:
                control.authorise("Create")
        own = os.fstat(first.fileno())
        assert [os.path.samestat(one, own) for one in server.passed] == [True, True]
    assert [[call.method.rpartition(".")[2] for call in calls] for calls in server.calls] == [
        ["SpeakFor", "Remove"],
        ["SpeakFor", "Authorise"],
    ]
    assert server.parameters(1, 1) == {"method": "Create"}


def test_client_waits_until_the_kernel_takes_its_descriptor(
    tmp_path: Path, form: ControlForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since Linux 6.16 that is when the service has accepted it, and so has answered anything."""
    taken = iter([False, True])
    real = DaemonConnection.send_with
    monkeypatch.setattr(
        DaemonConnection, "send_with", lambda self, *sent: next(taken) and real(self, *sent)
    )
    first, second = socket.socketpair()
    scripted = answering(tmp_path, [NOTHING, NOTHING, reply(DONE)])
    with first, second, scripted as server, form(server.path, speaks_for=first) as control:
        control.remove(UUID)
    methods = [call.method for call in server.calls[0]]
    assert methods[:2] == ["org.varlink.service.GetInfo", f"{INTERFACE}.SpeakFor"]


def test_descriptor_that_is_refused_for_good_is_an_error(
    tmp_path: Path, form: ControlForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service takes none from this user."""
    monkeypatch.setattr(DaemonConnection, "send_with", lambda self, *sent: False)
    first, second = socket.socketpair()
    refused = pytest.raises(NotAllowed, match="only root")
    with first, second, answering(tmp_path, [NOTHING]) as server, refused:
        with_client(form, server.path, first)


def test_refusal_to_speak_is_the_error_of_every_call(tmp_path: Path, form: ControlForm) -> None:
    """Nothing is asked on a connection where it is not known for whom."""
    refused = encode_error(f"{INTERFACE}.NotAllowed", {"action": "SpeakFor", "reason": "no"})
    first, second = socket.socketpair()
    scripted = answering(tmp_path, [refused, NOTHING])
    with first, second, scripted as server, pytest.raises(NotAllowed):
        with_client(form, server.path, first)
    assert [[call.method for call in calls] for calls in server.calls] == [
        [f"{INTERFACE}.SpeakFor"]
    ]


def test_domain_is_asked_for(tmp_path: Path, form: ControlForm) -> None:
    """By each method that takes one, in lower case."""
    domain = UUID.upper()
    with answering(tmp_path, [reply(DONE)] * 4) as server, form(server.path) as control:
        control.create("a", domain=domain)
        control.remove(UUID, domain=domain)
        control.start(UUID, domain=domain)
        control.stop(UUID, domain=domain)
    assert [server.parameters(0, number)["domain"] for number in range(4)] == [UUID] * 4


def test_request_is_sent_as_it_is(tmp_path: Path, form: ControlForm) -> None:
    """A program that has a request needs no method by its name."""
    request = Create(type="a", attributes=[Attribute("b", "c")], owner="x", force=True)
    with answering(tmp_path, [reply(DONE)]) as server, form(server.path) as control:
        control.act(request)
    decoded = msgspec.convert(server.parameters(0), Create)
    assert decoded == request
    assert claim_of(decoded) == claim_of(request)


def test_parameter_that_cannot_be_right_is_not_sent(tmp_path: Path, form: ControlForm) -> None:
    """It is refused where it is given."""
    with answering(tmp_path, [reply(DONE)]) as server, form(server.path) as control:
        for wrong in ("../../x", "/etc/passwd", ""):
            with pytest.raises(InvalidParameter):
                control.create("a", attributes={wrong: "1"})
        with pytest.raises(InvalidParameter):
            control.create("a", uuid="no uuid")
        with pytest.raises(InvalidParameter):
            control.stop("mdev_1", owner="a\nb")
        control.stop("mdev_1")
    assert [call.method for call in server.calls[0]] == [f"{INTERFACE}.Stop"]


def test_error_is_raised_again_with_what_was_undone(tmp_path: Path, form: ControlForm) -> None:
    """The text says what was undone, and what was not."""
    failed = {
        "step": "set the profile",
        "errno": "EIO",
        "detail": "the driver refuses",
        "undone": ["create a"],
        "left": ["create b: EBUSY"],
    }
    owned = {"name": "mdev_1", "owner": "vm-7"}
    script = [
        encode_error(f"{INTERFACE}.StepFailed", failed),
        encode_error(f"{INTERFACE}.OwnedByOther", owned),
        reply(DONE),
    ]
    with answering(tmp_path, script) as server, form(server.path) as control:
        with pytest.raises(StepFailed) as raised:
            control.create("a")
        assert (raised.value.undone, raised.value.left) == (("create a",), ("create b: EBUSY",))
        assert "undone: create a; NOT undone: create b: EBUSY" in str(raised.value)
        with pytest.raises(OwnedByOther, match="belongs to 'vm-7'"):
            control.remove("mdev_1")
        assert control.remove("mdev_1", owner="vm-7") == DONE


def test_state_and_devices_are_decoded(tmp_path: Path, form: ControlForm) -> None:
    """Members that a newer service adds are ignored."""
    status = ControlStatus(
        version="1",
        pid=7,
        sysroot="/",
        started="now",
        source="scan",
        clients=1,
        changes=2,
        failures=1,
        queued=0,
        in_progress=(),
        not_started=(),
        leftovers=(
            Leftover(number=3, action="create", cards=("c",), left=("a: EBUSY",), since="now"),
        ),
        configuration={"groups": ["nodedevd"]},
    )
    made = MadeList(generation=3, devices=(Made(name="mdev_1", origin="other"),))
    newer = msgspec.json.encode({**msgspec.to_builtins(made), "more": 1})
    with (
        answering(tmp_path, [reply(status), encode_reply(newer)]) as server,
        form(server.path) as control,
    ):
        assert control.get_status() == status
        assert control.list() == made


def test_lost_connection_is_an_error_and_the_next_call_connects(
    tmp_path: Path, form: ControlForm
) -> None:
    """The service ends when it is idle, and a change may have been made or not."""
    with answering(tmp_path, [b""], [reply(DONE)]) as server, form(server.path) as control:
        with pytest.raises(ConnectionLost):
            control.stop("a")
        assert control.stop("a") == DONE


def test_missing_service_names_the_line_that_enables_it(tmp_path: Path, form: ControlForm) -> None:
    """Nobody has to look it up."""
    path = str(tmp_path / "nobody.sock")
    with pytest.raises(NoControl) as missing:
        form(path)
    assert isinstance(missing.value, NoDaemon)
    assert missing.value.tried == (path,)
    assert "systemctl enable --now nodedevd-control.socket" in str(missing.value)


def test_socket_closed_to_the_user_names_its_group() -> None:
    """To enable a service that is enabled would not help."""
    denied = NoControl(("/run/a",), os.strerror(errno.EACCES).lower())
    assert "members of the socket's group, nodedevd" in str(denied)
    assert "systemctl" not in str(denied)


def test_environment_names_the_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: ControlForm
) -> None:
    """Else it is that of the system's service, by the name of the interface."""
    assert f"/run/nodedevd/{INTERFACE}" == CONTROL_SOCKET_PATH
    with answering(tmp_path, [reply(DONE)]) as server:
        monkeypatch.setenv("NODEDEVD_CONTROL_SOCKET", server.path)
        with form() as control:
            assert control.path == server.path
            control.stop("a")
