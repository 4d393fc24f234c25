"""nodedevd-control as a process, and a daemon that speaks for the clients of libvirt's sockets."""

from __future__ import annotations

import asyncio
import grp
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nodedevd.client import AsyncControl, Control
from nodedevd.errors import NodedevError, NotAllowed, TooManyClients
from tests.support.controlling import PATIENT, SOCKET, controlling
from tests.support.fifo_kernel import FifoKernel, fifo_kernel
from tests.support.libvirt_clients import LIBVIRT, LibvirtClients
from tests.support.running import PATIENCE_SECONDS, Running

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
NOBODY = 65534

pytestmark = pytest.mark.needs("root")

SPEAK = """
import os, sys, socket
from nodedevd.client import Control
control, libvirt, uid = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
    server.bind(libvirt)
    server.listen()
    os.chmod(libvirt, 0o666)
    client.connect(libvirt)  # as root
    accepted, _ = server.accept()
    os.setgid(int(uid)); os.setuid(int(uid))
    try:
        with Control(control, speaks_for=accepted) as control:
            print(control.create("mtty-1", dry_run=True))
    except Exception as error:
        print(type(error).__name__, error)
"""
"""A user that has got hold of a socket to which root has connected."""


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


@pytest.fixture
def allowed() -> grp.struct_group:
    """Return a group whose members may ask."""
    return next(one for one in grp.getgrall() if one.gr_gid not in (0, NOBODY))


@contextmanager
def serving(
    directory: Path, host: FifoKernel, group: str
) -> Iterator[tuple[Running, LibvirtClients]]:
    """Run the service, for the clients of a server of libvirt's protocol in a group."""
    libvirt = LibvirtClients(directory)
    text = f'groups = ["{group}"]\nlibvirt_sockets = ["{libvirt.path}"]\n{PATIENT}'
    try:
        with controlling(directory, host.root, configuration=text) as service:
            yield service, libvirt
    finally:
        libvirt.close()


def create(path: Path, speaks_for: socket.socket) -> int:
    """Create an mdev for a client; return the user to whom it is attributed."""
    with Control(str(path), speaks_for=speaks_for) as control:
        control.authorise("Create")
        control.create("mtty-1", uuid=UUID)
        [made] = control.list().devices
        assert made.uid is not None
        return made.uid


def create_on_asyncio(path: Path, speaks_for: socket.socket) -> int:
    """Do the same on asyncio."""

    async def run() -> int:
        async with AsyncControl(str(path), speaks_for=speaks_for) as control:
            await control.authorise("Create")
            await control.create("mtty-1", uuid=UUID)
            [made] = (await control.list()).devices
            assert made.uid is not None
            return made.uid

    return asyncio.run(run())


@pytest.mark.parametrize("make", [create, create_on_asyncio])
def test_change_is_made_with_the_rights_of_the_client(
    host: FifoKernel,
    directory: Path,
    allowed: grp.struct_group,
    make: Callable[[Path, socket.socket], int],
) -> None:
    """And attributed to it in the record and in the log, with the daemon that has asked."""
    with serving(directory, host, allowed.gr_name) as (service, libvirt):
        accepted = libvirt.accepted(NOBODY, allowed.gr_gid)
        assert make(directory / SOCKET, accepted) == NOBODY
        [client] = libvirt.processes
        service.wait_logged(f"[{client.pid}] of user {NOBODY}, through ")
        assert f"[{os.getpid()}]: " in service.log
    assert host.mdevs == {UUID}


def test_client_without_the_right_is_refused_though_root_asks(
    host: FifoKernel, directory: Path, allowed: grp.struct_group
) -> None:
    """Every method, for as long as the connection lives; another client of the same may."""
    with serving(directory, host, allowed.gr_name) as (service, libvirt):
        with Control(str(directory / SOCKET), speaks_for=libvirt.accepted(NOBODY)) as control:
            for method in ("Create", "Remove", "GetStatus"):
                with pytest.raises(NotAllowed, match=f"root may .*{allowed.gr_name}"):
                    control.authorise(method)
            with pytest.raises(NotAllowed):
                control.create("mtty-1", uuid=UUID)
            with pytest.raises(NotAllowed):
                control.get_status()
            # A connection that is lost is replaced by one for the same client.
            control._drop()
            with pytest.raises(NotAllowed):
                control.create("mtty-1", uuid=UUID)
        assert f"of user {NOBODY}: Create is not allowed" in service.log
        with Control(str(directory / SOCKET), speaks_for=libvirt.accepted(0)) as control:
            control.authorise("Create")
    assert host.mdevs == set()


def test_socket_that_was_not_accepted_is_refused_when_the_client_connects(
    host: FifoKernel, directory: Path, allowed: grp.struct_group
) -> None:
    """The error says why; a program that goes on has no connection that is root's."""
    with serving(directory, host, allowed.gr_name) as (_, libvirt):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(libvirt.path))
            with pytest.raises(NotAllowed, match=r"SpeakFor is not allowed: .* has connected to"):
                Control(str(directory / SOCKET), speaks_for=sock)
        control = AsyncControl(str(directory / SOCKET), speaks_for=libvirt.listening)

        async def run() -> None:
            for _ in range(2):
                with pytest.raises(NotAllowed, match="the socket listens"):
                    await control.create("mtty-1", uuid=UUID)

        asyncio.run(run())
    assert host.mdevs == set()


def test_user_may_not_speak_for_root(
    host: FifoKernel, directory: Path, allowed: grp.struct_group
) -> None:
    """Though it can connect, and has a socket to which root has connected."""
    text = f'groups = ["{allowed.gr_name}"]\nlibvirt_sockets = ["{directory / LIBVIRT}"]\n'
    with controlling(directory, host.root, "--socket-mode", "666", configuration=text):
        command = [sys.executable, "-c", SPEAK]
        command += [str(directory / SOCKET), str(directory / LIBVIRT), str(NOBODY)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        assert ran.stdout.startswith("NotAllowed SpeakFor is not allowed: "), ran


def connections(path: Path, speaks_for: socket.socket) -> Iterator[Control]:
    """Connect again and again, as often as there are places in all."""
    for _ in range(256):
        yield Control(str(path), speaks_for=speaks_for)


def test_clients_of_one_user_do_not_take_all_places(
    host: FifoKernel, directory: Path, allowed: grp.struct_group
) -> None:
    """Root asks for all of them, and can still ask for others, and for itself."""
    with serving(directory, host, allowed.gr_name) as (_, libvirt):
        accepted = libvirt.accepted(NOBODY, allowed.gr_gid)
        kept: list[Control] = []
        try:
            with pytest.raises(TooManyClients) as raised:
                kept.extend(connections(directory / SOCKET, accepted))
            assert (raised.value.user, raised.value.limit) == (NOBODY, len(kept))
            with Control(str(directory / SOCKET)) as control:
                assert control.get_status().clients == len(kept) + 1
            with Control(str(directory / SOCKET), speaks_for=libvirt.accepted(0)) as control:
                control.authorise("Create")
        finally:
            for one in kept:
                one.close()


def test_descriptors_do_not_pile_up(
    host: FifoKernel, directory: Path, allowed: grp.struct_group
) -> None:
    """Whatever was passed: when the clients are gone, so is it."""
    with serving(directory, host, allowed.gr_name) as (service, libvirt):
        opened = Path(f"/proc/{service.process.pid}/fd")
        accepted = libvirt.accepted(NOBODY)
        with Control(str(directory / SOCKET)) as control:
            control.get_status()
            before = len(os.listdir(opened))
            for _ in range(20):
                with (
                    pytest.raises(NodedevError),
                    Control(str(directory / SOCKET), speaks_for=accepted) as other,
                ):
                    other.create("mtty-1")
                with pytest.raises(NotAllowed):
                    Control(str(directory / SOCKET), speaks_for=libvirt.listening)
            while control.get_status().clients > 1:
                pass
            assert len(os.listdir(opened)) == before
