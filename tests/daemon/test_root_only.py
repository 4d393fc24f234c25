"""What sysfs shows to root alone: root and the daemon's user get it, and no other client."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from nodedevd.server.libvirt import protocol as remote
from nodedevd.socket_paths import INTERFACE
from nodedevd.varlink import encode_call
from tests.support import libvirt_peer
from tests.support.hosts import host_file
from tests.support.peer import connected
from tests.support.running import Running, running

pytestmark = pytest.mark.needs("root")

NOBODY = 65534
CARD = "pci_0000_01_00_0"
SECRETS = (
    *("EX0000011", "2d4f6a80-91b3-4c5d-8e7f-0a1b2c3d4e11"),
    *("EXRFD0001", "EX-ASSET-7", "rack 4", "QLogic 16Gb FC Single-port HBA", "EX2690"),
)


@pytest.fixture
def directory() -> Iterator[Path]:
    """Return a directory in which every user may connect to a socket."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


async def everything(directory: Path) -> dict[str, str]:
    """Return all that a client gets by each call, in both protocols."""
    found: dict[str, str] = {}
    async with connected(directory / "nodedevd.sock") as peer:

        async def ask(method: str, **parameters: Any) -> None:
            name = f"{method} {json.dumps(parameters)}"
            found[name] = json.dumps(await peer.call(f"{INTERFACE}.{method}", **parameters))

        async def ask_more(method: str, **parameters: Any) -> None:
            name = f"{method} {json.dumps(parameters)} more"
            found[name] = json.dumps(await peer.call_more(f"{INTERFACE}.{method}", **parameters))

        for _ in range(2):  # the second reply may come from a cache
            for device in ("computer", CARD):
                await ask("Describe", name=device)
                for form in ("nodedevd", "libvirt"):
                    await ask("DumpXML", names=[device], format=form)
            for form in ("nodedevd", "libvirt"):
                await ask("DumpXML", format=form)
                await ask("DumpXML", names=["computer", CARD], format=form)
                await ask_more("DumpXML", format=form)
            await ask("List")
            await ask("List", capabilities=["vpd"])
            await ask_more("Snapshot")
            await ask_more("Snapshot", names=["computer", CARD])
            await ask("Resolve", text=CARD)
    for content in ("json", "xml"):
        async with connected(directory / "nodedevd.sock") as peer:
            await peer.send_raw(encode_call(f"{INTERFACE}.Watch", {"content": content}, more=True))
            text = ""
            while '"ready"' not in text:
                text = json.dumps(await peer.receive())
                found[f"Watch {content}"] = found.get(f"Watch {content}", "") + text
    async with libvirt_peer.opened(directory / "libvirt.sock") as client:
        for device in ("computer", CARD):
            for flags in (0, 1):
                arguments = remote.NameAndFlags(device, flags)
                try:
                    xml = await client.call(remote.GET_XML_DESC, arguments)
                except libvirt_peer.CallFailed:
                    continue
                found[f"libvirt {device} {flags}"] = str(xml)
    return found


def as_nobody(act: Callable[[], Awaitable[dict[str, str]]]) -> dict[str, str]:
    """Run a coroutine in a process of another user."""
    with tempfile.TemporaryFile() as file:
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                file.write(json.dumps(asyncio.run(act())).encode())  # type: ignore[arg-type]
                file.flush()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        file.seek(0)
        found: dict[str, str] = json.loads(file.read())
        return found


def serving(directory: Path, *options: str) -> Any:
    """Serve a host with a serial number, a UUID, and Vital Product Data."""
    libvirt = f"--libvirt-socket={directory}/libvirt.sock"
    return running(directory, host_file("server-storage-fc"), libvirt, *options)


def check(found: dict[str, str], *, all_of_it: bool) -> None:
    """Check each reply for the values."""
    assert len(found) > 20
    for call, reply in found.items():
        shown = {one for one in SECRETS if one in reply}
        assert all_of_it or not shown, call
        if all_of_it and not call.startswith(("List", "Resolve", "Describe")):
            assert shown, call


def test_only_root_gets_what_only_root_can_read(directory: Path) -> None:
    """Whoever asks first: what was encoded for one is not sent to the other."""
    daemon: Running
    with serving(directory) as daemon:
        for _ in range(2):
            root, nobody = (
                asyncio.run(everything(directory)),
                as_nobody(lambda: everything(directory)),
            )
            check(root, all_of_it=True)
            check(nobody, all_of_it=False)
            assert root.keys() == nobody.keys()
        assert daemon.process.poll() is None


def test_other_user_who_asks_first_gets_no_more(directory: Path) -> None:
    """And root gets all of it afterwards."""
    with serving(directory):
        check(as_nobody(lambda: everything(directory)), all_of_it=False)
        check(asyncio.run(everything(directory)), all_of_it=True)


def test_operator_may_show_it_to_everybody(directory: Path) -> None:
    """By an option of the daemon."""
    with serving(directory, "--show-root-only"):
        check(as_nobody(lambda: everything(directory)), all_of_it=True)


def test_value_that_is_not_shown_is_refused_as_in_sysfs(directory: Path) -> None:
    """A client does not take it for absent; libvirt's form is that of a host without it."""
    with serving(directory):
        found = as_nobody(lambda: everything(directory))
    (computer,) = json.loads(found['Describe {"name": "computer"}'])["devices"]
    refused = {"code": "refused", "detail": "EACCES"}
    assert [one | refused for one in computer["errors"]] == computer["errors"]
    assert {one["attribute"] for one in computer["errors"]} == {"product_serial", "product_uuid"}
    xml = json.loads(found['DumpXML {"names": ["computer"], "format": "nodedevd"}'])["xml"]
    assert [one.get("state") for one in etree.fromstring(xml).iter("serial", "uuid")] == [
        "unknown"
    ] * 2
    xml = found["libvirt computer 0"]
    assert "<uuid>00000000-0000-0000-0000-000000000000</uuid>" in xml
    assert "unknown" not in xml
    assert "unknown" not in found[f"libvirt {CARD} 0"]
