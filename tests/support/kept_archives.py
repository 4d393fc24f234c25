"""Keeps hosts in archives once their text is parsed: nothing changes an archive that was read."""

from __future__ import annotations

from functools import cache

from nodedevd.host.archive import text
from nodedevd.host.archive.tree import Archive
from tests.support.hosts import HOSTS, host_file

_parse = text.parse_archive
_kept = {str(host_file(host)) for host in HOSTS}


@cache
def _parse_once(name: str, data: bytes) -> Archive:
    return _parse(data, name)


def keep_sample_hosts() -> None:
    """Have every later read of a sample host in this process return the same archive."""

    def parse(data: bytes, name: str) -> Archive:
        return _parse_once(name, data) if name in _kept else _parse(data, name)

    text.parse_archive = parse


def keep(file: str) -> None:
    """Have another archive kept, which many tests read."""
    _kept.add(file)
