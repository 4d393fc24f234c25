"""Changes whose undo fails, so that something of them is left."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nodedevd.actions.requests import Request, SetVirtualFunctions
from nodedevd.errors import NotConfirmed
from tests.support.acting_host import ActingHost
from tests.support.pci_host import PF


def use(host: ActingHost, function: str) -> None:
    """Have a guest open a function."""
    address = function.rpartition("/")[2]
    host.kernel.write(f"{function}/driver_override", "vfio-pci\n")
    if host.pci.driver_of(function) == "nvme":
        host.kernel.write("/sys/bus/pci/drivers/nvme/unbind", address)
        host.kernel.write("/sys/bus/pci/drivers_probe", address)
    host.kernel.open(function)


@contextmanager
def unconfirmed(host: ActingHost) -> Iterator[pytest.ExceptionInfo[NotConfirmed]]:
    """A context in which the tree never shows a change, which fails then."""
    host.view.blind = True
    with pytest.raises(NotConfirmed) as failed:
        yield failed
    host.view.blind = False


def leave(host: ActingHost, request: Request, step: int = 0) -> None:
    """Make a change whose step can be done, and not be undone."""
    host.on(f"undoing:{step}", lambda: host.refusals.append(errno.EIO))
    with unconfirmed(host) as failed:
        host.act(request)
    assert failed.value.left


def leave_open(host: ActingHost, request: Request, path: str) -> None:
    """Make a change that a VM keeps from being undone; and then the VM ends."""
    host.on("confirming", lambda: host.kernel.open(path))
    with unconfirmed(host) as failed:
        host.act(request)
    assert failed.value.left
    host.kernel.close(path)


def leave_functions(host: ActingHost, card: str, number: int) -> None:
    """Enable functions, of which a guest has one open when they are to go away; and it ends."""
    host.on("confirming", lambda: use(host, host.pci.functions(card)[0]))
    with unconfirmed(host) as failed:
        host.act(SetVirtualFunctions(name=PF, number=number, owner="a"))
    assert failed.value.left
    host.kernel.close(host.pci.functions(card)[0])
