"""listing: a directory that is missing has no names; one that cannot be listed is a fault."""

from __future__ import annotations

import errno

import pytest

from nodedevd.host.faults import Fault, FaultCode, Faults
from nodedevd.host.listing import names_in, readable_names_in
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree

DIRECTORY = "/sys/bus/pci/devices"


def test_names_are_sorted(tree: Tree) -> None:
    """In whatever order the kernel lists them."""
    for name in "cab":
        tree.file(f"{DIRECTORY}/{name}")
    faults = Faults()
    assert names_in(FaultySysroot(), DIRECTORY) == ["a", "b", "c"]
    assert readable_names_in(FaultySysroot(), DIRECTORY, faults) == ["a", "b", "c"]
    assert faults == []


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR])
def test_missing_directory_has_no_names(tree: Tree, number: int) -> None:
    """That is not a fault: the host has no such bus."""
    faults = Faults()
    sysroot = FaultySysroot(errors={DIRECTORY: number})
    assert names_in(sysroot, DIRECTORY) == []
    assert readable_names_in(sysroot, DIRECTORY, faults) == []
    assert faults == []


@pytest.mark.parametrize(
    ("number", "code", "detail"),
    [
        (errno.EACCES, "refused", "EACCES"),
        (errno.EPERM, "refused", "EPERM"),
        (errno.ELOOP, "malformed", "ELOOP"),
        (errno.EIO, "unreadable", "EIO: Input/output error"),
        (errno.EAGAIN, "unreadable", "EAGAIN: Resource temporarily unavailable"),
    ],
)
def test_directory_that_cannot_be_listed_is_a_fault(
    tree: Tree, number: int, code: FaultCode, detail: str
) -> None:
    """Devices may be missing then; a caller that needs to be sure gets the error."""
    faults = Faults()
    sysroot = FaultySysroot(errors={DIRECTORY: number})
    assert readable_names_in(sysroot, DIRECTORY, faults) == []
    assert faults == [Fault(DIRECTORY, code, detail)]
    with pytest.raises(OSError, match=DIRECTORY) as caught:
        names_in(sysroot, DIRECTORY)
    assert caught.value.errno == number
