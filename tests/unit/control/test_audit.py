"""The log of changes: fields of the journal's native protocol, and one line without a journal."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodedevd.actions.answers import Outcome
from nodedevd.actions.plan import CreateMdev, Plan
from nodedevd.actions.requests import Create, Remove
from nodedevd.control.asker import Asker
from nodedevd.control.audit import Audit, encoded
from nodedevd.control.journal import Asked, Entry
from nodedevd.errors import NoRoom, StepFailed
from nodedevd.logs import RateLimit

ASKER = Asker(4711, 1000, 1000, frozenset(), "virt-manager", 5)
STEP = CreateMdev("/sys/devices/x", "mtty-1", "6e5d5a8c-3a41-4a8e-9f4b-0c8f7f2f6c11")


class Journal:
    """The journal's socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(10)

    def receive(self) -> dict[str, str]:
        """Return the fields of the next record, parsed as journald does."""
        data = self._socket.recv(1 << 20)
        fields = {}
        while data:
            line, _, data = data.partition(b"\n")
            name, equals, value = line.partition(b"=")
            if not equals:
                (size,) = struct.unpack("<Q", data[:8])
                value, data = data[8 : 8 + size], data[8 + size :]
                assert data[:1] == b"\n"
                data = data[1:]
            assert name.decode() not in fields
            fields[name.decode()] = value.decode()
        return fields

    def close(self) -> None:
        """Close it."""
        self._socket.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Return a journal."""
    made = Journal(tmp_path / "journal")
    yield made
    made.close()


def test_change_is_recorded_with_who_asked_and_what_came_of_it(journal: Journal) -> None:
    """By fields that journalctl can search."""
    outcome = Outcome(generation=7, devices=(), steps=(str(STEP),), plan=(STEP,), dry_run=False)
    Audit(str(journal.path)).done(ASKER, Create(type="mtty-1", owner="vm-7", force=True), outcome)
    fields = journal.receive()
    assert fields["NODEDEVD_ACTION"] == "create"
    assert fields["NODEDEVD_RESULT"] == "done"
    assert fields["NODEDEVD_OWNER"] == "vm-7"
    assert fields["NODEDEVD_FORCE"] == "1"
    assert fields["OBJECT_UID"] == "1000"
    assert (fields["NODEDEVD_PID"], fields["NODEDEVD_COMMAND"]) == ("4711", "virt-manager")
    assert fields["SYSLOG_IDENTIFIER"] == "nodedevd-control"
    assert "for 'vm-7' by force, asked by virt-manager[4711] of user 1000" in fields["MESSAGE"]
    assert str(STEP) in fields["MESSAGE"]


def test_who_speaks_for_the_asker_is_recorded(journal: Journal) -> None:
    """Also with each step, of which only the journal of changes knows who asked."""
    speaker = Asker(99, 0, 0, frozenset(), "nodedevd", 1)
    asker = ASKER.through(speaker)
    audit = Audit(str(journal.path))
    audit.failed(asker, Remove(name="mdev_x"), NoRoom("t", "full"))
    fields = journal.receive()
    assert (fields["OBJECT_UID"], fields["NODEDEVD_PID"]) == ("1000", "4711")
    assert fields["NODEDEVD_SPEAKER"] == "nodedevd[99]"
    assert "asked by virt-manager[4711] of user 1000, through nodedevd[99]" in fields["MESSAGE"]
    plan = Plan(action="create", cards=(), steps=(STEP,), expected=())
    asked = Asked(asker.uid, asker.pid, asker.command, asker.speaker)
    audit.step(Entry(plan=plan, asked=asked, since=""), STEP, "done", "")
    assert journal.receive()["NODEDEVD_SPEAKER"] == "nodedevd[99]"
    audit.failed(ASKER, Remove(name="mdev_x"), NoRoom("t", "full"))
    assert "NODEDEVD_SPEAKER" not in journal.receive()


def test_domain_is_recorded_as_the_owner(journal: Journal) -> None:
    """And by a field of its own."""
    domain = "6e5d5a8c-3a41-4a8e-9f4b-0c8f7f2f6c11"
    Audit(str(journal.path)).failed(ASKER, Remove(name="x", domain=domain), NoRoom("t", "d"))
    fields = journal.receive()
    assert (fields["NODEDEVD_OWNER"], fields["NODEDEVD_DOMAIN"]) == (domain, domain)
    assert f"remove x for the domain {domain}, asked by" in fields["MESSAGE"]


def test_failure_is_recorded_with_what_was_undone_and_what_was_not(journal: Journal) -> None:
    """Several steps are lines of one field."""
    error = StepFailed("create it", "ENOSPC", "no room", ("one", "two"), ("three: busy",))
    Audit(str(journal.path)).failed(ASKER, Remove(name="mdev_x"), error)
    fields = journal.receive()
    assert fields["NODEDEVD_RESULT"] == "step-failed"
    assert fields["NODEDEVD_UNDONE"] == "one\ntwo"
    assert fields["NODEDEVD_LEFT"] == "three: busy"
    assert fields["PRIORITY"] == "4"
    assert "NODEDEVD_OWNER" not in fields


def test_each_step_is_recorded(journal: Journal) -> None:
    """With the number of its change, which all records of it have."""
    plan = Plan(action="create", cards=("pci_1",), steps=(STEP,), expected=())
    entry = Entry(number=3, plan=plan, asked=Asked(1000, 4711, "virsh"), since="")
    Audit(str(journal.path)).step(entry, STEP, "refused", "the card has no room (ENOSPC)")
    fields = journal.receive()
    assert fields["NODEDEVD_STEP"] == str(STEP)
    assert (fields["NODEDEVD_CHANGE"], fields["NODEDEVD_CARDS"]) == ("3", "pci_1")
    assert fields["MESSAGE"].endswith(": refused: the card has no room (ENOSPC)")
    assert fields["OBJECT_UID"] == "1000"


def test_change_that_ends_late_is_recorded(journal: Journal) -> None:
    """Its client was told before that the driver hangs."""
    audit, asked = Audit(str(journal.path)), Asked(0, 1, "systemd")
    audit.late(asked, NoRoom("mtty-1", "full"))
    assert journal.receive()["NODEDEVD_RESULT"] == "no-room"
    audit.late(asked, RuntimeError("a defect"))
    assert journal.receive()["NODEDEVD_RESULT"] == "internal-error"


def test_value_cannot_make_a_field_of_its_own(journal: Journal) -> None:
    """A name with a line break, which only /proc could have, stays one value."""
    asker = Asker(1, 1000, 1000, frozenset(), "x\nOBJECT_UID=0\nMESSAGE=y", None)
    Audit(str(journal.path)).failed(asker, Remove(name="a"), NoRoom("t", "d"))
    fields = journal.receive()
    assert fields["OBJECT_UID"] == "1000"
    assert fields["NODEDEVD_COMMAND"] == asker.command
    assert "\n" not in fields["MESSAGE"]


def test_long_value_is_cut() -> None:
    """A record stays below what a datagram takes, and text stays text."""
    data = encoded("A", "ä" * 100_000)
    assert len(data) < 9000
    assert data.decode().endswith("ä...\n")


def test_without_a_journal_it_is_a_line_of_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In a container, or on a host without systemd."""
    with caplog.at_level(logging.INFO):
        Audit(str(tmp_path / "none")).failed(ASKER, Remove(name="mdev_x"), NoRoom("t", "full"))
    assert "remove mdev_x, asked by virt-manager[4711] of user 1000" in caplog.text


def test_without_a_journal_no_record_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Other messages of one kind are, when there are many."""
    limit = RateLimit()
    caplog.handler.addFilter(limit)
    try:
        audit = Audit(str(tmp_path / "none"))
        for number in range(100):
            audit.failed(ASKER, Remove(name=f"mdev_{number}"), NoRoom("t", "full"))
            logging.getLogger("x").warning("another %d", number)
    finally:
        caplog.handler.removeFilter(limit)
    assert caplog.text.count("remove mdev_") == 100
    assert caplog.text.count("another") < 100


def test_without_a_log_nothing_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command prints the error itself."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    Audit(str(tmp_path / "none")).failed(ASKER, Remove(name="mdev_x"), NoRoom("t", "full"))
    assert capsys.readouterr() == ("", "")
