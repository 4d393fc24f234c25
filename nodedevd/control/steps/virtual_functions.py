"""virtual_functions: what the steps that enable and disable virtual functions have in common.

Reads  <card>/{sriov_numvfs,sriov_totalvfs,virtfn<N>}, of each function nvidia/current_vgpu_type,
       mdevs, and what the host uses of it
ABI    Documentation/ABI/testing/sysfs-bus-pci
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from nodedevd.control.steps.base import InUseNow, StepHost
from nodedevd.control.steps.host_use import refuse_if_host_uses
from nodedevd.host.node import parse_number
from nodedevd.kinds.vgpu import CURRENT
from nodedevd.names import is_uuid

NUMBER: Final = "sriov_numvfs"
MOST: Final = "sriov_totalvfs"
_FUNCTION: Final = "virtfn"
_NO_PROFILE: Final = ("", "0")


def number_of(card: str, host: StepHost, attribute: str = NUMBER) -> int | None:
    """Return how many functions are enabled, None if that cannot be read. Raises OSError."""
    text = host.read(f"{card}/{attribute}")
    return None if text is None else parse_number(text.strip())


@contextmanager
def unused_functions(card: str, host: StepHost, *, forced: bool) -> Iterator[None]:
    """Keep a card's virtual functions closed while they are taken away.

    Raises InUseNow if one of them is in use: what the plan has checked may have changed since.
    """
    functions = [] if forced else _functions(card, host)
    for function in functions:
        _refuse_if_it_holds_vgpus(function, host)
    if functions:
        refuse_if_host_uses(functions, host, path=card, what="its virtual functions")
    with ExitStack() as stack:
        for function in functions:
            stack.enter_context(host.kept_closed(function))
        yield


def _functions(card: str, host: StepHost) -> list[str]:
    links = [name for name in host.names(card) if name.startswith(_FUNCTION)]
    paths = [host.readlink(f"{card}/{name}") for name in links]
    return [path for path in paths if path is not None]


def _refuse_if_it_holds_vgpus(function: str, host: StepHost) -> None:
    profile = host.read(f"{function}/{CURRENT}")
    if profile is not None and profile.strip() not in _NO_PROFILE:
        raise InUseNow(function, f"it has the vGPU profile {profile.strip()}")
    for name in host.names(function):
        if is_uuid(name):
            raise InUseNow(function, f"it holds the mdev {name}")
