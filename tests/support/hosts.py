"""The sample hosts: an archive of each in fixtures/sysfs. docs/fixtures.md tells how to add one.

A host as a directory, to be changed, and back; its ABOUT.md is the head of the archive:
  python -m tests.support.hosts fixtures/sysfs/empty.ttar /tmp/empty
  python -m tests.support.hosts /tmp/empty fixtures/sysfs/empty.ttar
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

from nodedevd.host.archive.disk import pack, unpack, write_archive
from nodedevd.host.archive.text import read_archive
from nodedevd.host.archive.tree import ENDING
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.read import scan
from tests.support.trees import Tree

FIXTURES = Path(__file__).parents[2] / "fixtures" / "sysfs"
HOSTS = sorted(path.stem for path in FIXTURES.glob(f"*{ENDING}"))
"""The names of the sample hosts."""
_ABOUT = "ABOUT.md"


def host_file(host: str) -> Path:
    """Return the archive of a sample host."""
    return FIXTURES / f"{host}{ENDING}"


@cache
def snapshot_of(host: str) -> Snapshot:
    """Return the scan of a sample host; it is made once, since nothing changes it."""
    return scan(Sysroot(str(host_file(host))))


def unpacked(host: str, root: str | os.PathLike[str]) -> Tree:
    """Unpack a sample host into a new directory, to be changed, or read by other programs."""
    unpack(read_archive(str(host_file(host))), os.fspath(root))
    return Tree(root)


def main(source: Path, target: Path) -> None:
    """Pack a directory, or unpack an archive."""
    if source.is_file():
        archive = read_archive(str(source))
        unpack(archive, str(target))
        (target / _ABOUT).write_text(archive.about, encoding="utf-8")
        return
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "host"
        shutil.copytree(source, copy, symlinks=True, ignore=shutil.ignore_patterns(_ABOUT))
        about = source / _ABOUT
        archive = pack(str(copy), about.read_text(encoding="utf-8") if about.exists() else "")
    target.unlink(missing_ok=True)
    write_archive(archive, str(target))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
