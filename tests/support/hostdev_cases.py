"""Every accepted combination of hostdev's options, on devices of sample hosts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from nodedevd.questions.hostdev import HostDev, HostDevRequest, hostdev
from tests.support.hosts import snapshot_of

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
    return hostdev(snapshot_of(host), HostDevRequest(name=name, **options), machine="x86_64")


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
        if model in (None, "vfio-pci"):
            options |= {"address": (None, PCI)}
        if model == "vfio-ccw":
            options |= {"address": (None, CCW)}
        if model in (None, "vfio-ccw"):
            options |= {"boot_order": (None, 1)}
        if model != "vfio-pci":
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
        if option == "managed":
            text = "yes" if value else "no"
        flag = f"--{option.replace('_', '-')}"
        words.append(flag if option == "ramfb" else f"{flag} {text}")
    return " ".join(words)


def xml_of(case: Case) -> str:
    """Return the XML of a case."""
    host, name, options = case
    return on(host, name, **dict(options)).xml
