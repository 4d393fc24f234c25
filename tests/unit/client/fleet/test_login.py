"""What a client logs in with is read and checked before any server is asked."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from nodedevd.client.fleet.access import Access, Tls, access, check_servers
from nodedevd.client.fleet.asynchronous import AsyncFleet
from nodedevd.client.fleet.errors import BadAccess, NoNats
from nodedevd.client.fleet.login import login

CREDENTIALS = """-----BEGIN NATS USER JWT-----
abc
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
SUABC
------END USER NKEY SEED------
"""


def from_seed(seed: bytearray) -> None:
    """Take one seed, as nkeys would."""
    if seed != b"SUABC":
        raise LookupError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a file, beside a library that knows one seed."""
    monkeypatch.setitem(sys.modules, "nkeys", SimpleNamespace(from_seed=from_seed))
    return tmp_path / "file"


def test_password_and_credentials_are_those_of_the_files(path: Path) -> None:
    """A line's end is none of the password's."""
    path.write_text("p w\n")
    given = Access(("nats://a",), user="u", password_file=str(path))
    assert login(given) == {"user": "u", "password": "p w"}
    path.write_text(CREDENTIALS)
    assert login(Access(("nats://a",), credentials=str(path))) == {"user_credentials": str(path)}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "No such file"),
        (b"\xff", "cannot be read"),
        (b"", "has not one JWT"),
        (CREDENTIALS.replace("BEGIN NATS", "NATS").encode(), "has not one JWT"),  # nats-py hangs
        (CREDENTIALS.replace("BEGIN USER", "USER").encode(), "has not one JWT"),
        (CREDENTIALS.partition("SUABC")[0].encode(), "has not one JWT"),
        (CREDENTIALS.replace("SUABC", "x").encode(), "the seed"),
    ],
)
def test_credentials_that_cannot_be_used_are_refused(
    text: bytes | None, reason: str, path: Path
) -> None:
    """With the file, and what is wrong with it; the seed is not shown."""
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(BadAccess) as error:
        login(Access(("nats://a",), credentials=str(path)))
    assert error.value.key == "credentials"
    assert reason in error.value.reason
    assert str(path) in error.value.reason
    assert "SUABC" not in str(error.value)


def test_credentials_without_their_library_are_an_error_that_names_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nats-py imports it when a server asks for a signature."""
    path.write_text(CREDENTIALS)
    monkeypatch.setitem(sys.modules, "nkeys", None)
    with pytest.raises(NoNats, match="package nkeys"):
        login(Access(("nats://a",), credentials=str(path)))


def test_certificates_that_cannot_be_used_are_refused(path: Path) -> None:
    """Those of the authorities, and those of the client."""
    path.write_text("none")
    for tls in (Tls(ca=str(path)), Tls(certificate=str(path)), Tls(ca="/nonexistent")):
        with pytest.raises(BadAccess, match=r"^tls of the fleet: /.* cannot be used: "):
            login(Access(("nats://a",), tls=tls))


@pytest.mark.parametrize(
    "given", ["", ",", "http://a", "nats://", "nats://a:x", "nats://u:se,cret@a", "nats://[::1"]
)
async def test_servers_that_are_none_are_refused_at_once(given: str) -> None:
    """No server is waited for, and no part of a password is shown."""
    with pytest.raises(BadAccess) as error:
        await AsyncFleet(given).hosts()
    assert error.value.key == "servers"
    assert "give " in error.value.reason
    assert "se" not in error.value.reason.replace("server", "")


def test_servers_that_may_be_some_are_not_refused() -> None:
    """With and without a scheme, a port, a user."""
    for given in ("a", "a:4222", "u:p@a", "nats://[::1]:4222", "tls://t@a", "wss://a/b"):
        check_servers(access(given))


async def test_missing_file_is_an_error_without_a_server() -> None:
    """It is not that the servers do not answer."""
    fleet = AsyncFleet(Access(("nats://127.0.0.1:1",), user="u", password_file="/nonexistent"))
    with pytest.raises(BadAccess, match="/nonexistent"):
        await fleet.hosts()
    watch = fleet.watch()
    with pytest.raises(BadAccess, match="/nonexistent"):
        await watch.next()
    await watch.close()
