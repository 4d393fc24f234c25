"""The client in both forms, against a server that answers by a script."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import msgspec
import pytest

import nodedevd.client
from nodedevd.cli.embedded import Embedded
from nodedevd.client import (
    AsyncClient,
    Condition,
    ConnectionLost,
    NoDaemon,
    NodedevError,
    NoSuchDevice,
    NotInFormat,
    NotUnderstood,
    RemoteError,
    TimedOut,
    TooManyClients,
    available,
    present,
)
from nodedevd.varlink import encode_error, encode_reply
from tests.support.changing_host import GPU, TYPE
from tests.support.forms import FORMS, Form, line
from tests.support.hosts import host_file
from tests.support.running import PATIENCE_SECONDS
from tests.support.scripted import answering

INTERFACE = "org.nodedevd.Devices"
SERVICE = "org.varlink.service"


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    """Return what makes a client, in either form."""
    made: Form = request.param
    return made


def told(event: str, generation: int = 1, name: str | None = None, instance: str = "i") -> bytes:
    """Return a reply of a watch."""
    fields = {"generation": generation, "instance": instance, "event": event, "name": name}
    return encode_reply(msgspec.json.encode(fields), continues=True)


def test_parts_of_a_stream_are_put_together(tmp_path: Path, form: Form) -> None:
    """All replies of a stream make one answer, however small they are cut."""
    parts = [f"<devices generation='1'>\n  <!-- {number} -->\n" for number in range(50)]
    replies = b"".join(
        encode_reply(b'{"xml":"%b"}' % part.encode().replace(b"\n", b"\\n"), continues=last)
        for part, last in zip(parts, [True] * 49 + [False], strict=True)
    )
    with answering(tmp_path, [replies]) as server, form(server.path) as client:
        assert client.dump_xml() == "".join(parts)


def test_no_socket_raises_no_daemon(tmp_path: Path, form: Form) -> None:
    """The error names the path that was tried, and why nobody was there."""
    path = str(tmp_path / "nobody.sock")
    with pytest.raises(NoDaemon) as missing:
        form(path)
    assert missing.value.tried == (path,)
    assert missing.value.reason == "no such file or directory"


def test_first_socket_that_answers_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Form
) -> None:
    """The sockets of root's daemon and of the user's own are tried in order."""
    tried = [str(tmp_path / "nobody.sock"), "", str(tmp_path / "stale.sock")]
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(tried[2])
    for module in ("blocking", "asynchronous"):
        name = f"nodedevd.client.{module}.candidate_socket_paths"
        monkeypatch.setattr(name, lambda: tried)
    with answering(tmp_path, [encode_error(f"{SERVICE}.PermissionDenied", {})]) as server:
        tried[1] = server.path
        with form() as client:
            assert client.path == server.path
            with pytest.raises(RemoteError):
                client.status()
    os.unlink(server.path)
    with pytest.raises(NoDaemon) as missing:
        form()
    assert missing.value.tried == tuple(tried)
    assert missing.value.reason == "no such file or directory, connection refused"


def test_environment_names_the_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Form
) -> None:
    """$NODEDEVD_SOCKET alone is tried, if it is set."""
    path = str(tmp_path / "chosen.sock")
    monkeypatch.setenv("NODEDEVD_SOCKET", path)
    with pytest.raises(NoDaemon) as missing:
        form()
    assert missing.value.tried == (path,)


def test_end_of_the_connection_instead_of_a_reply_raises(tmp_path: Path, form: Form) -> None:
    """A daemon that goes away is said to have, by the path of its socket."""
    with (
        answering(tmp_path, [b""]) as server,
        form(server.path) as client,
        pytest.raises(ConnectionLost) as lost,
    ):
        client.status()
    assert str(lost.value).startswith(f"lost the connection to the daemon on {server.path}: ")


def test_end_of_the_connection_within_a_stream_raises(tmp_path: Path, form: Form) -> None:
    """Half of a list is not taken for the whole."""
    part = encode_reply(b'{"generation":1,"devices":[]}', continues=True)
    with (
        answering(tmp_path, [part]) as server,
        form(server.path) as client,
        pytest.raises(ConnectionLost),
    ):
        client.list()


NONSENSE = [b"no JSON\0", b"[]\0", b'{"parameters":1}\0', b"\xff\0", b"\0", encode_reply(b"{}")]


@pytest.mark.parametrize("reply", NONSENSE)
def test_reply_that_is_none_raises(tmp_path: Path, form: Form, reply: bytes) -> None:
    """Whatever answers on the socket, it is not believed."""
    with (
        answering(tmp_path, [reply]) as server,
        form(server.path) as client,
        pytest.raises(NotUnderstood),
    ):
        client.status()


def test_second_reply_to_a_call_is_not_taken_for_the_next_ones(tmp_path: Path, form: Form) -> None:
    """An answer that nobody asked for is worth a new connection."""
    one, other = (encode_reply(b'{"xml":"%b"}' % name) for name in (b"one", b"other"))
    with answering(tmp_path, [one + one], [other]) as server, form(server.path) as client:
        assert client.dump_xml() == "one"
        assert client.dump_xml() == "other"


def test_several_replies_to_a_call_for_one_are_not_understood(tmp_path: Path, form: Form) -> None:
    """Which of them would be the answer?"""
    reply = b'{"generation":1,"devices":[]}'
    replies = encode_reply(reply, continues=True) + encode_reply(reply)
    with (
        answering(tmp_path, [replies]) as server,
        form(server.path) as client,
        pytest.raises(NotUnderstood),
    ):
        client.describe("computer")


@pytest.mark.parametrize("count", [0, 2])
def test_description_of_other_than_one_device_is_not_understood(
    tmp_path: Path, form: Form, count: int
) -> None:
    """The reply to a call for one device has exactly one."""
    device = msgspec.json.encode(Embedded(str(host_file("vgpu-pf"))).describe("computer"))
    reply = b'{"generation":1,"devices":[%b]}' % b",".join([device] * count)
    with (
        answering(tmp_path, [encode_reply(reply)]) as server,
        form(server.path) as client,
        pytest.raises(NotUnderstood, match=f"{count} devices instead of one"),
    ):
        client.describe("computer")


@pytest.mark.parametrize("cut", [1, 100])
def test_answer_over_the_limit_is_not_taken(tmp_path: Path, form: Form, cut: int) -> None:
    """In one reply or in many that never end, it is no more than was allowed for."""
    part = encode_reply(b'{"xml":"%b"}' % (b"x" * (20_000 // cut)), continues=True) * cut
    good = encode_reply(b'{"xml":"good"}')
    with (
        answering(tmp_path, [part], [good]) as server,
        form(server.path, limit_bytes=10_000) as client,
    ):
        with pytest.raises(NotUnderstood, match="10000 bytes"):
            client.dump_xml()
        assert client.dump_xml() == "good"


def test_what_is_not_known_yet_is_ignored_or_said(tmp_path: Path, form: Form) -> None:
    """A newer daemon may tell more; a device of a kind that is not known is not cut short."""
    answer = msgspec.json.decode(Embedded(str(host_file("vgpu-pf"))).snapshot_json(["computer"]))
    [device] = answer["devices"]
    more = encode_reply(
        msgspec.json.encode({"generation": 1, "devices": [{**device, "new": 1}], "new": 2})
    )
    device["capabilities"].append({"type": "new_kind"})
    other = encode_reply(msgspec.json.encode(answer))
    with answering(tmp_path, [more, other, other]) as server, form(server.path) as client:
        assert client.describe("computer").name == "computer"
        with pytest.raises(NotUnderstood, match="new_kind"):
            client.describe("computer")
        assert msgspec.json.decode(client.snapshot_json(["computer"])) == answer


ERRORS: list[tuple[str, dict[str, object], NodedevError]] = [
    ("NoSuchDevice", {"name": "a", "nearest": ["b"]}, NoSuchDevice("a", ("b",))),
    ("NotInFormat", {"name": "a", "format": "b"}, NotInFormat("a", "b")),
    ("TooManyClients", {"limit": 7, "user": None}, TooManyClients(7)),
    ("InternalError", {}, RemoteError(f"{INTERFACE}.InternalError", b"{}")),
    ("NoSuchDevice", {"limit": 7}, RemoteError(f"{INTERFACE}.NoSuchDevice", b'{"limit":7}')),
]


@pytest.mark.parametrize(("name", "parameters", "expected"), ERRORS)
def test_error_has_a_class_or_is_told_as_it_came(
    tmp_path: Path,
    form: Form,
    name: str,
    parameters: dict[str, object],
    expected: NodedevError,
) -> None:
    """An error of a newer daemon is shown with its name and parameters."""
    error = encode_error(f"{INTERFACE}.{name}", parameters)
    with (
        answering(tmp_path, [error]) as server,
        form(server.path) as client,
        pytest.raises(type(expected)) as raised,
    ):
        client.status()
    assert str(raised.value) == str(expected)


def test_errors_have_codes_of_their_own() -> None:
    """A program may tell them apart by a word that never changes."""
    public = [getattr(nodedevd.client, name) for name in nodedevd.client.__all__]
    errors = [one for one in public if isinstance(one, type) and issubclass(one, NodedevError)]
    assert len({one.code for one in errors}) == len(errors) > 9


@pytest.mark.slow
def test_call_that_is_not_answered_times_out(tmp_path: Path, form: Form) -> None:
    """Its answer, should it ever come, is not given to the next call."""
    good = encode_reply(b'{"xml":"good"}')
    part = encode_reply(b'{"xml":"late"}', continues=True)
    with (
        answering(tmp_path, [None], [part, None], [good]) as server,
        form(server.path, timeout_seconds=0.1) as client,
    ):
        for _ in range(2):
            with pytest.raises(TimedOut) as late:
                client.dump_xml()
            assert isinstance(late.value, TimeoutError)
            assert str(late.value) == f"timed out after 0.1 s waiting for a reply on {server.path}"
        assert client.dump_xml() == "good"


async def test_cancelled_call_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    """The half of an answer that had come is gone with its connection."""
    part = encode_reply(b'{"xml":"old"}', continues=True)
    good = encode_reply(b'{"xml":"new"}')
    with answering(tmp_path, [part, None], [good]) as server:
        async with AsyncClient(server.path) as client:
            task = asyncio.ensure_future(client.dump_xml())
            await asyncio.to_thread(server.answered.wait, PATIENCE_SECONDS)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await client.dump_xml() == "new"


@pytest.mark.parametrize(
    ("before", "since", "after"),
    [
        ([told("present", 7, "a"), told("present", 7, "b")], -1, "resync"),
        ([told("present", 7, "a"), told("ready", 7)], 7, "added"),
        ([told("ready", 7), told("changed", 9, "a")], 9, "added"),
        ([told("ready", 7), told("resync", 50), told("present", 50, "a")], -1, "resync"),
    ],
)
def test_watch_asks_for_exactly_what_it_missed(
    tmp_path: Path, form: Form, before: list[bytes], since: int, after: str
) -> None:
    """Behind the last event; from the beginning, if not all that is there had been told."""
    with (
        answering(tmp_path, [b"".join(before)], [told(after, 60)]) as server,
        form(server.path) as client,
        client.watch(capabilities=["pci"], reconnect=True) as watch,
    ):
        events = [line(next(watch)) for _ in range(len(before) + 1)]
    assert events[-1] == after
    first, again = server.parameters(0), server.parameters(1)
    assert first == {**again, "since": None, "instance": None}
    assert (again["since"], again["instance"]) == (since, "i")


@pytest.mark.slow
def test_watch_tries_again_while_there_are_too_many_clients(tmp_path: Path, form: Form) -> None:
    """After a restart everybody comes at once."""
    full = encode_error(f"{INTERFACE}.TooManyClients", {"limit": 1, "user": 1000})
    with (
        answering(tmp_path, [told("ready")], [full], [told("added", 2, "a")]) as server,
        form(server.path) as client,
        client.watch(reconnect=True) as watch,
    ):
        assert [line(next(watch)), line(next(watch))] == ["ready", "added a"]


@pytest.mark.parametrize(
    "nonsense",
    [b"no JSON\0", encode_reply(b"{}", continues=True), encode_reply(b"{}"), told("invented")],
)
def test_watch_that_is_told_nonsense_says_so(tmp_path: Path, form: Form, nonsense: bytes) -> None:
    """To reconnect would not help, and would hide it."""
    with (
        answering(tmp_path, [told("ready") + nonsense]) as server,
        form(server.path) as client,
        client.watch(reconnect=True) as watch,
    ):
        assert line(next(watch)) == "ready"
        with pytest.raises(NotUnderstood):
            next(watch)


def test_watch_that_never_began_does_not_reconnect(tmp_path: Path, form: Form) -> None:
    """A wrong path is told at once."""
    with (
        answering(tmp_path, [b""]) as server,
        form(server.path) as client,
        client.watch(reconnect=True) as watch,
        pytest.raises(ConnectionLost),
    ):
        next(watch)


@pytest.mark.parametrize("condition", [present("computer"), available(GPU, TYPE)])
def test_wait_for_with_a_daemon_that_does_not_answer_ends(
    tmp_path: Path, form: Form, monkeypatch: pytest.MonkeyPatch, condition: Condition
) -> None:
    """Who gives a time is not kept for ever; what there is gets some seconds to be told."""
    monkeypatch.setattr("nodedevd.client.conditions.ANSWER_SECONDS", 0.1)
    with (
        answering(tmp_path, [None]) as server,
        form(server.path) as client,
        pytest.raises(TimedOut),
    ):
        client.wait_for(condition, timeout_seconds=0)
