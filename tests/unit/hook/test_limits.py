"""The hook's limits, and its places, are those of the control service."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodedevd.control.acting import STATE
from nodedevd.control.configuration import Limits
from nodedevd.hook import __main__ as hook
from nodedevd.hook import domain_log
from nodedevd.hook.domain_log import write_to_log


def test_hook_waits_as_long_as_the_service_may_take() -> None:
    """So that libvirt gets the service's reason, and not that time was over."""
    limits = Limits()
    longest = limits.lock_seconds + limits.write_seconds + limits.confirm_seconds
    assert longest < hook.PREPARE_SECONDS
    assert hook.RETRY_SECONDS < hook.RELEASE_SECONDS


def test_records_are_where_the_service_has_them() -> None:
    """The hook only looks whether there are any."""
    assert f"/{STATE}/records" == hook.RECORDS


def test_records_that_cannot_be_seen_may_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a directory that is empty, or missing, says that nothing was made."""
    place = tmp_path / "records"
    monkeypatch.setattr(hook, "RECORDS", str(place))
    assert not hook._may_have_left()
    place.mkdir()
    assert not hook._may_have_left()
    (place / "one").touch()
    assert hook._may_have_left()
    monkeypatch.setattr(hook, "RECORDS", str(place / "one"))  # ENOTDIR
    assert hook._may_have_left()


def test_line_is_appended_to_the_log_of_the_domain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the time, as libvirt's own; a name that is a path, and a link, are left alone."""
    monkeypatch.setattr(domain_log, "DIRECTORY", str(tmp_path))
    log = tmp_path / "vm1.log"
    log.write_text("before\n")
    write_to_log("vm1", "nodedevd: \udcff why")
    first, line, rest = log.read_text().split("\n")
    assert (first, rest) == ("before", "")
    assert line.endswith("+0000: nodedevd: \\udcff why")
    (tmp_path / "vm2.log").symlink_to(log)
    for name in ("vm2", "../vm1", "/etc/passwd"):
        write_to_log(name, "x")
    assert len(log.read_text().split("\n")) == 3
    monkeypatch.setattr(domain_log, "DIRECTORY", str(tmp_path / "missing"))
    write_to_log("vm1", "x")
