"""Every accepted combination of hostdev's options, on devices of sample hosts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any

from nodedevd.host.assignment import read_assignment_facts
from nodedevd.host.sysroot import Sysroot
from nodedevd.questions.hostdev.answer import hostdev
from nodedevd.questions.hostdev.facts import HostDevFacts
from nodedevd.questions.hostdev.request import HostDev, HostDevRequest
from nodedevd.questions.in_use import read_usage
from tests.support.hosts import host_file, snapshot_of

PCI = "pci:0000:05:00.0"
CCW = "ccw:fe.0.0001"

MBOCHS = ("samples", "b1ae8bf6-38b0-4c81-9d44-78ce3f520013", "vfio-pci")
DASD = ("s390x-ap-ccw", "d8a5e2f1-0c7b-4d36-8e19-5f2a7b6c3d03", "vfio-ccw")
CRYPTO = ("s390x-ap-ccw", "6b8a0c39-7b3f-4a0e-b9b6-2f3f1c9d0a01", "vfio-ap")
FUNCTION = ("vdpa-smartnic", "0000:3b:00.5", None)
VGPU = ("vgpu-vendor-vfio", "0000:26:00.4", None)
DEVICES = (MBOCHS, DASD, CRYPTO, FUNCTION, VGPU)


def on(host: str, name: str, **options: Any) -> HostDev:
    """Assign a device of a sample host."""
    request = HostDevRequest(name=name, **options)
    return hostdev(snapshot_of(host), request, facts_of(host))


@cache
def facts_of(host: str) -> HostDevFacts:
    """Return what hostdev reads of a sample host besides its devices."""
    sysroot = Sysroot(str(host_file(host)))
    return HostDevFacts(
        machine="x86_64", host=read_assignment_facts(sysroot), usage=read_usage(sysroot)
    )


Case = tuple[str, str, tuple[tuple[str, Any], ...]]


def combinations(**options: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    """Yield every combination of values; None leaves an option out."""
    for values in product(*options.values()):
        chosen = dict(zip(options, values, strict=True))
        yield {name: value for name, value in chosen.items() if value is not None}


def accepted() -> Iterator[Case]:
    """Yield every accepted combination of options for each kind of device."""
    for host, name, model in DEVICES:
        options: dict[str, tuple[Any, ...]] = {"model": (None, model)}
        if model is None:
            options |= {"managed": (None, False) if host == VGPU[0] else (None, True, False)}
            options |= {"iommufd": (None, True, False)}
        if model in (None, "vfio-pci"):
            options |= {"address": (None, PCI)}
        if model == "vfio-ccw":
            options |= {"address": (None, CCW)}
        if model in (None, "vfio-ccw"):
            options |= {"boot_order": (None, 1)}
        if model != "vfio-pci" and host != VGPU[0]:
            chosen = list(combinations(**options))
        else:
            shown = [{}, {"display": False}, {"display": True}, {"display": True, "ramfb": True}]
            chosen = [{**one, **other} for one in combinations(**options) for other in shown]
        for one in {tuple(sorted(one.items())) for one in chosen}:
            yield host, name, one


ACCEPTED = sorted(accepted(), key=str)


def label(case: Case) -> str:
    """Return the command line of a case."""
    _, name, options = case
    words = [name]
    for option, value in options:
        text = {True: "on", False: "off"}.get(value, str(value)) if option == "display" else value
        if option in ("managed", "iommufd"):
            text = "yes" if value else "no"
        flag = f"--{option.replace('_', '-')}"
        words.append(flag if option == "ramfb" else f"{flag} {text}")
    return " ".join(words)


def xml_of(case: Case) -> str:
    """Return the XML of a case."""
    host, name, options = case
    return on(host, name, **dict(options)).xml
