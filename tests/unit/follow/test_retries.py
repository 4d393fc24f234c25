"""retries: what could not be read is read again until it could, and a first scan is whole."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from nodedevd.follow import retries
from nodedevd.model.store import Store
from tests.support.failing_calls import FailingSysroot
from tests.support.fake_monitor import eventually
from tests.unit.follow.test_follower import CARD, SOUND, Live, following

BUS = "/sys/bus/pci/devices"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have retries follow each other fast."""
    monkeypatch.setattr(retries, "RETRY_SECONDS", (0.001, 0.01))


def build(live: Live) -> None:
    """Make two PCI functions."""
    live.pci(CARD)
    live.pci(SOUND)


async def test_device_that_cannot_be_read_stays_and_is_read_again(tmp_path: Path) -> None:
    """Without a reconcile, and without another event."""
    sysroot = FailingSysroot(str(tmp_path))
    async with following(tmp_path, build, sysroot=sysroot) as live:
        before = live.get(CARD)
        path = before.path or ""
        sysroot.begin(lambda count, name, where: errno.EMFILE if where.startswith(path) else None)
        live.pci(CARD, numa_node=1)
        live.monitor.uevent("change", path, "pci")
        await eventually(lambda: live.get(CARD) is not before)
        kept = live.get(CARD)
        assert (kept.name, kept.parent, kept.capabilities) == (
            before.name,
            before.parent,
            before.capabilities,
        )
        assert [fault.detail for fault in kept.errors] == [
            "shown as it was read last: EMFILE: Too many open files"
        ]
        sysroot.begin()
        await live.until_true_to_the_host()
        assert live.get(CARD).errors == ()


async def test_directory_that_cannot_be_listed_is_listed_again(tmp_path: Path) -> None:
    """A device that was plugged in meanwhile is found then, also without an event."""
    sysroot = FailingSysroot(str(tmp_path))
    async with following(tmp_path, build, sysroot=sysroot) as live:
        sysroot.begin(lambda count, name, where: errno.EIO if where == BUS else None)
        live.pci("0000:09:00.0")
        live.reconcile()
        await eventually(lambda: bool(live.store.snapshot.errors))
        assert [fault.attribute for fault in live.store.snapshot.errors] == [BUS]
        assert len(live.store.snapshot) == 3
        sysroot.begin()
        await live.until_true_to_the_host()
        assert live.store.snapshot.errors == ()


async def test_new_device_whose_parent_cannot_be_read_waits_for_it(tmp_path: Path) -> None:
    """It would be moved later; and it is not waited for forever."""
    sysroot = FailingSysroot(str(tmp_path))
    async with following(tmp_path, build, sysroot=sysroot) as live:
        bridge = live.pci("0000:09:00.0", class_=0x060400)
        net = live.tree.net("eth0", parent="0000:09:00.0")
        failing = ("_listdir", bridge)
        sysroot.begin(lambda count, *call: errno.EIO if call == failing else None)
        live.monitor.uevent("add", bridge, "pci")
        live.monitor.uevent("add", net, "net")
        await eventually(lambda: bool(live.store.snapshot.errors))
        assert not live.has(net)
        await eventually(lambda: live.has(net))
        found = live.store.snapshot.at(net)
        assert found is not None
        assert found.parent == "pci_0000_09_00_0"
        sysroot.begin()
        await live.until_true_to_the_host()


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
async def test_first_scan_that_is_short_is_made_again(
    tmp_path: Path, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """However long that lasts: the store never has a part of the host."""
    sysroot = FailingSysroot(str(tmp_path))
    async with following(tmp_path, build, sysroot=sysroot, start=False) as live:
        scans = 0

        def fails(count: int, name: str, path: str) -> int | None:
            nonlocal scans
            scans += path == BUS
            return number if path == BUS else None

        sysroot.begin(fails)
        start = asyncio.create_task(live.follower.start())
        await eventually(lambda: scans > 12)
        assert live.store.snapshot.generation == Store().snapshot.generation
        assert [one for one in caplog.messages if "not ready yet" in one]
        sysroot.begin()
        await start
        assert live.true_to_the_host()


async def test_first_scan_does_not_wait_forever_for_a_directory(tmp_path: Path) -> None:
    """One that is broken for good is an error in the status, and the others are served."""
    sysroot = FailingSysroot(str(tmp_path))
    sysroot.begin(lambda count, name, path: errno.EIO if path == BUS else None)

    def build_more(live: Live) -> None:
        build(live)
        live.tree.net("lo")

    async with following(tmp_path, build_more, sysroot=sysroot) as live:
        assert [fault.attribute for fault in live.store.snapshot.errors] == [BUS]
        assert any(device.subsystem == "net" for device in live.store.snapshot)
        sysroot.begin()
        await live.until_true_to_the_host()
        assert len(live.store.snapshot) == 4
