"""Cards are made as declared when they or their drivers appear, and kept so if that is said."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodedevd.actions.answers import LayoutCard
from nodedevd.control.apply_card import applied
from nodedevd.control.apply_layout import SETTLE_SECONDS
from nodedevd.control.layouts import KEEP_SECONDS, LOOK_SECONDS, PAUSES, Layouts
from nodedevd.host.mdev_paths import MDEV_TYPES
from nodedevd.layout.difference import Difference
from nodedevd.layout.wanted import WantedCard
from nodedevd.model.snapshot import Snapshot
from tests.support.acting_host import ActingHost
from tests.support.pci_host import NVME, PF
from tests.support.played_kernel import mtty_parent, small_card, vendor_card

FILE = "/etc/nodedevd/layout.d/10-test.toml"
ENTRY = """
[[card]]
parent = "mtty"
vgpus = [{ type = "mtty-1", count = 2 }]
"""


class Host:
    """A host with a service that follows its layout.

    Attributes:
        acting: the host.
        tried: the cards that were tried since the last look.
    """

    def __init__(self, directory: Path) -> None:
        self.acting = ActingHost(directory)
        self.acting.kernel.tree.directory("/etc")
        self.directory = directory / "host" / "run" / "nodedevd" / "layout"
        self.directory.mkdir(parents=True, mode=0o700)
        self.now = 1000.0
        self.tried: list[str] = []
        self._held: list[int] = []
        self.declare(ENTRY)
        self.restart()

    def restart(self) -> None:
        """Have the service start anew."""
        self.layouts = Layouts(
            self.acting.view,
            self.apply,
            self.acting.layout_facts,
            str(self.acting.kernel.tree.root),
            str(self.directory),
            lambda: self.now,
        )

    def declare(self, text: str) -> None:
        """Write the file of the layout."""
        self.acting.kernel.tree.file(FILE, text)

    def apply(self, entry: WantedCard, difference: Difference) -> LayoutCard:
        """Put a card right, as the service does."""
        self.tried.append(difference.card or "")
        return applied(self.acting.layout_host(), entry, difference)

    def look(self) -> list[str]:
        """Look once, and put right what is due; return the cards that were tried."""
        self.tried.clear()
        self.seconds = self.layouts.look(self.acting.view.snapshot())
        for key in self.layouts.due():
            self.layouts.put_right(key)
        return list(self.tried)

    def states(self) -> list[tuple[str, int, bool]]:
        """Return the state of each card that is not as declared, its tries, and if it waits."""
        return [(one.state, one.tries, one.waits) for one in self.layouts.not_applied()]

    def load(self) -> None:
        """Load the driver."""
        self.path = mtty_parent(self.acting.kernel, 4)

    def unload(self) -> None:
        """Unload the driver, with its parent."""
        kernel = self.acting.kernel
        # Else the file system may give the next directory the same inode.
        for path in (self.path, f"{self.path}/{MDEV_TYPES}"):
            self._held.append(os.open(kernel.tree.at(path), os.O_PATH))
        kernel.mdev.unregister(self.path)
        kernel.tree.remove("/sys/class/mtty/mtty")
        kernel.tree.remove(self.path)

    def take_one(self) -> None:
        """Remove an mdev as somebody else does."""
        mdev = sorted(self.acting.kernel.mdev.types)[0]
        self.acting.kernel.write(f"{mdev}/remove", "1")

    @property
    def mdevs(self) -> int:
        """The number of mdevs."""
        return len(self.acting.kernel.mdev.types)

    def close(self) -> None:
        """Let the inodes go."""
        for descriptor in self._held:
            os.close(descriptor)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Return a host on which the driver is not loaded yet."""
    host = Host(tmp_path)
    yield host
    host.close()


def test_card_is_made_as_declared_when_it_appears(host: Host) -> None:
    """Until then it is reported, and does not keep the service from ending."""
    assert host.look() == []
    assert host.states() == [("pending", 0, True)]
    assert host.seconds == LOOK_SECONDS
    assert not host.layouts.busy
    host.load()
    assert host.look() == ["mtty_mtty"]
    assert host.mdevs == 2
    assert host.look() == []
    assert host.layouts.not_applied() == ()


def test_what_somebody_changes_later_stays(host: Host) -> None:
    """Also after the service was started again; it is reported."""
    host.load()
    host.look()
    host.look()
    host.take_one()
    assert host.look() == []
    host.restart()
    assert host.look() == []
    assert host.mdevs == 1
    assert host.states() == [("drifted", 0, False)]
    assert not host.layouts.busy


def test_driver_that_somebody_changes_later_stays(host: Host) -> None:
    """It is what the entry declares, and so no reason to make the card as declared once more."""
    pci = host.acting.pci
    pci.driver("nvme", NVME)
    pci.driver("vfio-pci")
    path = pci.function(PF, driver="nvme", group=1)
    host.declare(f'[[card]]\naddress = "{PF}"\ndriver = "vfio-pci"\n')
    assert host.look() == ["pci_0000_01_00_0"]
    assert (host.look(), pci.driver_of(path)) == ([], "vfio-pci")
    pci.kernel.write(f"{path}/driver_override", "\n")
    pci.kernel.write("/sys/bus/pci/drivers/vfio-pci/unbind", PF)
    assert host.look() == []
    pci.kernel.write("/sys/bus/pci/drivers_probe", PF)
    assert (host.look(), pci.driver_of(path)) == ([], "nvme")
    assert host.states() == [("drifted", 0, False)]


def test_card_is_made_anew_when_its_driver_is_loaded_again(host: Host) -> None:
    """Also if the service has not seen that it was gone."""
    host.load()
    host.look()
    host.look()
    host.unload()
    host.load()
    host.restart()
    assert host.look() == ["mtty_mtty"]
    assert host.mdevs == 2


def test_card_that_is_kept_is_put_right_at_once(host: Host) -> None:
    """But not again and again without a pause; the service stays for it."""
    host.declare(ENTRY + "keep = true\n")
    host.load()
    host.look()
    host.look()
    assert host.layouts.busy
    host.now += KEEP_SECONDS
    host.take_one()
    assert host.look() == ["mtty_mtty"]
    assert host.mdevs == 2
    host.take_one()
    assert host.look() == []
    assert 0 < host.seconds <= KEEP_SECONDS
    host.now += KEEP_SECONDS
    assert host.look() == ["mtty_mtty"]
    host.declare(ENTRY + "keep = \n")
    host.look()
    assert host.layouts.busy, "its file is wrong for a moment"
    host.declare(ENTRY)
    host.look()
    assert not host.layouts.busy


@pytest.mark.slow
def test_card_that_fails_is_tried_again_and_then_given_up(host: Host) -> None:
    """Until something changes; the service stays as long as it tries."""
    host.load()
    create = f"{host.path}/{MDEV_TYPES}/mtty-1/create"
    host.acting.kernel.refuse(create, *[errno.EIO] * (len(PAUSES) + 1))
    for number in range(len(PAUSES) + 1):
        assert host.look() == ["mtty_mtty"], number
        [one] = host.layouts.not_applied()
        assert (one.state, one.tries) == ("drifted", number + 1)
        assert "EIO" in one.detail
        assert host.look() == []
        assert host.layouts.busy == one.waits
        host.now += 60
    assert host.states() == [("drifted", len(PAUSES) + 1, False)]
    assert host.look() == []
    host.declare(ENTRY.replace("count = 2", "count = 3"))
    assert host.look() == ["mtty_mtty"]
    assert host.mdevs == 3


def test_card_that_is_kept_is_never_given_up(host: Host) -> None:
    """What holds it up may end without a change of the tree, as a VM does."""
    host.declare(ENTRY + "keep = true\n")
    host.load()
    create = f"{host.path}/{MDEV_TYPES}/mtty-1/create"
    tries = len(PAUSES) + 3
    host.acting.kernel.refuse(create, *[errno.EIO] * tries)
    for number in range(tries):
        assert host.look() == ["mtty_mtty"], number
        assert host.states() == [("drifted", number + 1, True)]
        assert host.look() == []
        host.now += PAUSES[-1]
    assert host.look() == ["mtty_mtty"]
    assert host.states() == []
    assert host.mdevs == 2


def test_card_that_fails_does_not_keep_the_others_back(host: Host) -> None:
    """Each has its own pauses."""
    vendor_card(host.acting.kernel, small_card())
    card = '[[card]]\naddress = "0000:41:00.0"\nvgpus = [{ type = "X1-12Q", count = 1 }]\n'
    host.declare(ENTRY + card)
    host.load()
    host.acting.kernel.refuse(f"{host.path}/{MDEV_TYPES}/mtty-1/create", errno.EIO)
    assert host.look() == ["mtty_mtty", "pci_0000_41_00_0"]
    assert host.look() == []
    assert host.states() == [("drifted", 1, True)]
    host.now += PAUSES[0]
    assert host.look() == ["mtty_mtty"]
    assert host.look() == []
    assert host.layouts.not_applied() == ()


def test_service_stays_until_it_has_looked(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy host the first look may take longer than the service stays for nobody."""
    found: list[bool] = []
    look = host.layouts.look

    def looking(snapshot: Snapshot) -> float:
        found.append(host.layouts.busy)
        return look(snapshot)

    def waiting(generation: int, seconds: float) -> None:
        found.append(host.layouts.busy)
        host.layouts.stop()

    monkeypatch.setattr(host.layouts, "look", looking)
    monkeypatch.setattr(host.acting.view, "wait_for_change", waiting)
    assert not host.layouts.busy
    host.layouts.run()
    assert found == [True, False]


def test_look_that_fails_is_tried_again_after_pauses(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And not at once for ever; the service stays until one has worked."""
    found: list[float | str] = []
    failures = iter([OSError(errno.EMFILE, "Too many open files"), RuntimeError("a defect")] * 6)
    snapshot = host.acting.view.snapshot

    def looking() -> Snapshot:
        found.append("look")
        for error in failures:
            assert host.layouts.busy
            raise error
        return snapshot()

    def waiting(generation: int, seconds: float) -> None:
        assert (generation, seconds) == (1, LOOK_SECONDS)
        assert not host.layouts.busy
        host.layouts.stop()

    monkeypatch.setattr(host.acting.view, "snapshot", looking)
    monkeypatch.setattr(host.acting.view, "wait_for_change", waiting)
    monkeypatch.setattr(host.layouts._stopped, "wait", found.append)
    host.layouts.run()
    pauses = [*PAUSES, PAUSES[-1], PAUSES[-1]]
    assert found == [one for pause in pauses for one in ("look", pause)] + ["look", SETTLE_SECONDS]
    assert caplog.text.count("cannot compare the host with its layout") == len(pauses)


def test_nothing_is_done_without_the_directory(host: Host) -> None:
    """The unit makes it; when it is stopped, what was seen is forgotten."""
    host.load()
    host.look()
    host.look()
    for path in host.directory.iterdir():
        path.unlink()
    host.directory.rmdir()
    host.take_one()
    assert host.look() == []
    assert (host.mdevs, host.layouts.not_applied(), host.layouts.busy) == (1, (), False)
    host.directory.mkdir(mode=0o700)
    assert host.look() == ["mtty_mtty"]
    assert host.mdevs == 2


def test_file_that_is_malformed_is_as_none(host: Host) -> None:
    """What was seen is seen anew."""
    host.load()
    host.look()
    host.look()
    (host.directory / "cards").write_bytes(b"\xff{")
    host.restart()
    assert host.look() == []
    assert host.mdevs == 2
    assert host.layouts.not_applied() == ()


@pytest.mark.parametrize("code", ["malformed", "unreadable", "absent"])
def test_file_that_cannot_be_used_for_a_while_is_not_forgotten(host: Host, code: str) -> None:
    """What somebody changed stays, and a driver that was loaded again meanwhile gets its mdevs."""
    host.load()
    host.look()
    host.look()
    host.take_one()
    for is_loaded_again in (False, code != "absent"):
        if code == "malformed":
            host.declare(ENTRY + "count = = 1\n")
        else:
            host.acting.kernel.tree.remove(FILE)
        if code == "unreadable":
            host.acting.kernel.tree.link(FILE, "missing")
        assert host.look() == []
        assert host.layouts.not_applied() == ()
        if is_loaded_again:
            host.unload()
            host.load()
        if code == "unreadable":
            host.acting.kernel.tree.remove(FILE)
        host.declare(ENTRY)
        host.restart()
        assert host.look() == (["mtty_mtty"] if is_loaded_again else [])
        assert host.mdevs == (2 if is_loaded_again else 1)


@pytest.mark.slow
def test_entry_that_comes_later_waits_for_an_apply_or_for_its_card(host: Host) -> None:
    """As an entry that is changed does; but not with `keep`, and not if the card comes later."""
    host.look()
    host.restart()
    vendor_card(host.acting.kernel, small_card())
    card = '[[card]]\naddress = "0000:41:00.0"\nvgpus = [{ type = "X1-12Q", count = 1 }]\n'
    absent = card.replace("41", "42")
    host.declare(ENTRY + card + absent)
    assert host.look() == []
    assert host.states() == [("pending", 0, True), ("pending", 0, True), ("drifted", 0, False)]
    host.restart()
    host.load()
    vendor_card(host.acting.kernel, small_card(), "0000:42:00.0")
    assert host.look() == ["mtty_mtty", "pci_0000_42_00_0"]
    assert host.look() == []
    assert host.states() == [("drifted", 0, False)]
    host.declare(ENTRY + card + "keep = true\n" + absent)
    assert host.look() == ["pci_0000_41_00_0"]


def test_entry_that_could_not_be_read_at_the_first_look_is_acted_on(host: Host) -> None:
    """The boot is not over before that."""
    host.load()
    tree = host.acting.kernel.tree
    tree.remove(FILE)
    tree.link(FILE, "missing")
    assert host.look() == []
    host.restart()
    tree.remove(FILE)
    host.declare(ENTRY)
    assert host.look() == ["mtty_mtty"]


def test_wrong_file_is_logged_once(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """With its line; what it declares is not followed."""
    host.declare("[[card]]\nparent = 7\n")
    host.load()
    host.look()
    host.look()
    logged = [one.getMessage() for one in caplog.records if "10-test.toml:2" in one.getMessage()]
    assert len(logged) == 1
    assert host.mdevs == 0
