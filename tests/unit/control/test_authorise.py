"""Who may call what, and that nothing of a call is decoded for whom may not."""

from __future__ import annotations

import asyncio
import grp
import os
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from nodedevd.actions.requests import REQUESTS, Create, Remove
from nodedevd.control import polkit
from nodedevd.control.asker import Asker
from nodedevd.control.authorise import AuthorisedService, Authoriser
from nodedevd.control.caller import Caller
from nodedevd.control.configuration import Configuration
from nodedevd.control.methods import ControlInterface
from nodedevd.control.workers import Workers
from nodedevd.errors import CONTROL_INTERFACE, NotAllowed
from nodedevd.server.account import Holding
from nodedevd.server.varlink.conversation import VarlinkConversations
from nodedevd.varlink import Malformed, ReplyDecoder, encode_call
from tests.support.recorded_changes import RecordedChanges

GIDS = {"kvm": 101, "wheel": 102, "empty": 103}
ROOT = Asker(1, 0, 0, frozenset(), "systemd", 1)
METHODS = (*REQUESTS, "GetStatus", "List")


def user(*groups: str, primary: int = 1000) -> Asker:
    """Return a process of an ordinary user in these groups."""
    return Asker(4711, 1000, primary, frozenset(GIDS[one] for one in groups), "virsh", 5)


@pytest.fixture(autouse=True)
def groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a host with these groups, and with a service that root runs."""

    def getgrnam(name: str) -> grp.struct_group:
        return grp.struct_group((name, "x", GIDS[name], []))

    monkeypatch.setattr(grp, "getgrnam", getgrnam)
    monkeypatch.setattr(os, "geteuid", lambda: 0)


async def nobody(method: str, asker: Asker) -> None:
    """Fail: polkit is asked."""
    raise AssertionError(method)


def allowed(configuration: Configuration, asker: Asker) -> set[str]:
    """Return the methods that a process may call."""
    authoriser = Authoriser(configuration, nobody)
    found = set()
    for method in METHODS:
        try:
            assert not authoriser.check(method, asker)
        except NotAllowed:
            continue
        found.add(method)
    return found


@pytest.mark.parametrize("groups", [(), ("kvm",), ("missing",)])
def test_root_may_call_everything(groups: tuple[str, ...]) -> None:
    """Whatever the configuration says, also if a group does not exist."""
    assert allowed(Configuration(groups=groups), ROOT) == set(METHODS)


def test_members_of_the_groups_may_call_everything() -> None:
    """By a supplementary group, or by the primary one; nobody else may."""
    configuration = Configuration(groups=("kvm", "wheel"))
    assert allowed(configuration, user("wheel")) == set(METHODS)
    assert allowed(configuration, user(primary=GIDS["kvm"])) == set(METHODS)
    assert allowed(configuration, user("empty")) == set()
    assert allowed(configuration, user()) == set()


def test_without_groups_root_is_alone() -> None:
    """Also where a group that is named does not exist."""
    assert allowed(Configuration(groups=()), user("kvm", "wheel")) == set()
    assert allowed(Configuration(groups=("missing",)), user("kvm")) == set()


def test_groups_of_a_method_replace_the_others() -> None:
    """And who may call any method may look."""
    configuration = Configuration(
        groups=("kvm",), methods={"Bind": ("wheel",), "Unbind": (), "Create": ("kvm", "wheel")}
    )
    everything = set(METHODS)
    assert allowed(configuration, user("kvm")) == everything - {"Bind", "Unbind"}
    assert allowed(configuration, user("wheel")) == {"Bind", "Create", "GetStatus", "List"}


def test_refusal_says_who_may() -> None:
    """By the names of the groups."""
    authoriser = Authoriser(Configuration(groups=("kvm", "wheel"), methods={"Bind": ()}), nobody)
    with pytest.raises(NotAllowed, match="root may ask for it, and members of kvm or wheel"):
        authoriser.check("Create", user())
    with pytest.raises(NotAllowed, match="root may ask for it, and nobody else"):
        authoriser.check("Bind", user("kvm"))


def test_polkit_is_asked_of_members_alone() -> None:
    """Not of root, and not in place of the groups."""
    authoriser = Authoriser(Configuration(groups=("kvm",), polkit=True), nobody)
    assert not authoriser.check("Create", ROOT)
    assert authoriser.check("Create", user("kvm"))
    with pytest.raises(NotAllowed):
        authoriser.check("Create", user())


def asked(
    configuration: Configuration,
    asker: Asker,
    *messages: bytes,
    ask: Callable[[str, Asker], Awaitable[object]] | None = None,
) -> tuple[list[tuple[str, dict[str, Any]]], RecordedChanges]:
    """Send messages as a process; return the errors and parameters of the replies."""

    async def run() -> tuple[list[tuple[str, dict[str, Any]]], RecordedChanges]:
        changes = RecordedChanges()
        workers = Workers("test", 4, 4)
        authoriser = Authoriser(configuration, ask or nobody)
        interface = ControlInterface(changes, workers, workers, authoriser, ()).interface()
        service = AuthorisedService(
            authoriser,
            vendor="V",
            product="P",
            version="1",
            url="",
            interfaces=[interface],
            error_namespace=CONTROL_INTERFACE,
        )
        caller = Caller.of(asker)
        conversation = VarlinkConversations(service, object).begin(caller, lambda: None, Holding())
        decoder = ReplyDecoder(1 << 20)
        replies = []
        for message in messages:
            conversation.receive(message)
            while (output := conversation.next()) is not None or conversation.answering:
                assert output is not None
                if isinstance(output, bytes):
                    decoder.feed(output)
                    continue
                try:
                    conversation.answered(await output)
                except Exception as error:
                    conversation.failed(error)
            reply = decoder.next()
            assert reply is not None
            assert not isinstance(reply, Malformed)
            replies.append((reply.error or "", msgspec.json.decode(reply.parameters)))
        return replies, changes

    return asyncio.run(run())


def call(method: str, /, **parameters: object) -> bytes:
    """Return a call of the interface."""
    return encode_call(f"{CONTROL_INTERFACE}.{method}", parameters)


def test_request_arrives_with_who_asks() -> None:
    """Of a member of the group."""
    asker = user("kvm")
    [reply], changes = asked(
        Configuration(groups=("kvm",)), asker, call("Create", type="mtty-1", owner="vm-7")
    )
    assert reply[0] == ""
    assert changes.requests == [(Create(type="mtty-1", owner="vm-7"), asker)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "parameters", [b"{}", b'{"no":1}', b'{"type":3,"owner":[1]}', b'{"uuid":"x","name":"../x"}']
)
def test_nothing_is_decoded_for_whom_may_not_call(method: str, parameters: bytes) -> None:
    """The refusal is the same, whatever the parameters are: they are not looked at."""
    message = b'{"method":"%b.%b","parameters":%b}\0' % (
        CONTROL_INTERFACE.encode(),
        method.encode(),
        parameters,
    )
    [reply], changes = asked(Configuration(groups=("kvm",)), user(), message)
    assert reply[0] == f"{CONTROL_INTERFACE}.NotAllowed"
    assert reply[1]["action"] == method
    assert changes.requests == []
    [reply], _ = asked(Configuration(groups=("kvm",)), user("kvm"), message)
    assert reply[0] != f"{CONTROL_INTERFACE}.NotAllowed"


def test_bad_parameter_of_whom_may_call_is_named() -> None:
    """By the struct, or by what a request checks itself; the connection stays open."""
    replies, changes = asked(
        Configuration(groups=("kvm",)),
        user("kvm"),
        call("Create", type="mtty-1", uuid="x"),
        call("Create", type=3),
        call("Create", type="mtty-1", misspelt=True),
        call("Remove", name="mdev_x"),
    )
    invalid = "org.varlink.service.InvalidParameter"
    assert [(name, parameters.get("parameter")) for name, parameters in replies[:3]] == [
        (invalid, "uuid"),
        (invalid, "type"),
        (invalid, "misspelt"),
    ]
    assert [request for request, _ in changes.requests] == [Remove(name="mdev_x")]


def test_interface_is_described_to_whoever_connects() -> None:
    """As every service's is."""
    [reply], _ = asked(
        Configuration(groups=()),
        user(),
        encode_call(
            "org.varlink.service.GetInterfaceDescription", {"interface": CONTROL_INTERFACE}
        ),
    )
    assert "interface org.nodedevd.Control" in reply[1]["description"]


def test_polkit_decides_before_the_parameters_are_decoded() -> None:
    """It gets the method; a refusal is the answer."""
    configuration = Configuration(groups=("kvm",), polkit=True)
    seen = []

    async def yes(method: str, asker: Asker) -> None:
        seen.append((method, asker))

    async def no(method: str, asker: Asker) -> None:
        raise NotAllowed(method, "polkit refuses org.libvirt.api.node-device.start")

    bad, good = call("Create", type=3), call("Create", type="mtty-1")
    replies, changes = asked(configuration, user("kvm"), bad, good, ask=no)
    assert {name for name, _ in replies} == {f"{CONTROL_INTERFACE}.NotAllowed"}
    assert changes.requests == []
    replies, changes = asked(configuration, user("kvm"), bad, good, ask=yes)
    assert [name for name, _ in replies] == ["org.varlink.service.InvalidParameter", ""]
    assert seen == [("Create", user("kvm"))] * 2
    assert [request for request, _ in changes.requests] == [Create(type="mtty-1")]


def test_whether_a_method_may_be_called_is_answered_as_the_method_would() -> None:
    """By the groups of that method, and by polkit; nothing is done."""
    configuration = Configuration(groups=("kvm",), methods={"Bind": ("wheel",)})
    calls = [call("Authorise", method=method) for method in ("Create", "Bind", "List")]
    replies, changes = asked(configuration, user("kvm"), *calls)
    assert [name.rpartition(".")[2] for name, _ in replies] == ["", "NotAllowed", ""]
    assert replies[0][1] == {}
    assert replies[1][1]["action"] == "Bind"
    seen = []

    async def no(method: str, asker: Asker) -> None:
        seen.append((method, asker))
        raise NotAllowed(method, "polkit refuses")

    configuration = Configuration(groups=("kvm",), polkit=True)
    [reply], _ = asked(configuration, user("kvm"), call("Authorise", method="Start"), ask=no)
    assert (reply[0], reply[1]["action"]) == (f"{CONTROL_INTERFACE}.NotAllowed", "Start")
    assert seen == [("Start", user("kvm"))]
    assert changes.requests == []


@pytest.mark.parametrize("method", ["", "Authorise", "SpeakFor", "create", "x" * 1000, "a.Create"])
def test_method_without_a_permission_is_no_question(method: str) -> None:
    """Also one that there is not, and whoever asks."""
    for asker in (ROOT, user()):
        [reply], _ = asked(Configuration(groups=()), asker, call("Authorise", method=method))
        assert reply == ("org.varlink.service.InvalidParameter", {"parameter": "method"})


def test_replies_are_never_shared() -> None:
    """The same bytes of two clients are two changes: no reply comes from a cache."""
    message = call("Create", type="mtty-1")
    _, changes = asked(Configuration(groups=("kvm",)), user("kvm"), message, message)
    assert len(changes.requests) == 2


def test_missing_library_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """As is a process that has ended."""
    import sys

    monkeypatch.setitem(sys.modules, "jeepney", None)
    with pytest.raises(NotAllowed, match="package python3-jeepney"):
        polkit.check("Create", user("kvm"))
    ended = msgspec.structs.replace(user("kvm"), started=None)
    with pytest.raises(NotAllowed, match="has ended"):
        polkit.check("Create", ended)


def test_missing_bus_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong is."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    with pytest.raises(NotAllowed, match="polkit cannot be asked"):
        polkit.check("Create", user("kvm"))
