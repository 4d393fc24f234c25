"""Hosts to draw, and the texts and boxes of a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import msgspec
from lxml import etree

from nodedevd.drawing.measure import width
from nodedevd.drawing.pen import Run
from nodedevd.drawing.seen import Host
from nodedevd.host.facts import read_host
from nodedevd.host.processes import OpenFiles, Process, ProcessScan, Vm
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.pci import Pci, VirtualFunctions
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import device_name
from nodedevd.questions.doctor import diagnose
from nodedevd.questions.in_use import VfioUsage
from tests.support.hosts import host_file, snapshot_of

SVG = "{http://www.w3.org/2000/svg}"
_SAMPLE = "vgpu-vendor-vfio"
_CARD, _FREE, _TAKEN = "0000:26:00.0", "0000:26:00.7", "0000:26:00.5"


@cache
def sample(host: str) -> Host:
    """Return a sample host with its findings, as `draw --sysroot` draws it."""
    snapshot = snapshot_of(host)
    facts = read_host(Sysroot(str(host_file(host))))
    return Host(title=host, snapshot=snapshot, findings=diagnose(snapshot, facts))


def addresses(bus: int, functions: int) -> list[str]:
    """Return the addresses of the virtual functions of the card on a bus."""
    return [
        f"{bus >> 8:04x}:{bus & 0xFF:02x}:{number >> 3:02x}.{number & 7}"
        for number in range(4, 4 + functions)
    ]


def card(bus: int, functions: int, taken: Sequence[int] = ()) -> list[Device]:
    """Return a card of the vendor-VFIO sample host, with more functions, some with a vGPU."""
    found = addresses(bus, functions)
    own = f"{bus >> 8:04x}:{bus & 0xFF:02x}:00.0"
    texts = [(_copied(_CARD), {_CARD: own})]
    for number, address in enumerate(found):
        model = _TAKEN if number in taken else _FREE
        texts.append((_copied(model), {model: address, _CARD: own}))
    devices = []
    for text, replaced in texts:
        for old, new in replaced.items():
            text = text.replace(old, new).replace(device_name("pci", old), device_name("pci", new))
        devices.append(msgspec.json.decode(text, type=Device))
    pci = devices[0].capability(Pci)
    assert pci is not None
    own_functions = VirtualFunctions(functions, tuple(found))
    others = [one for one in devices[0].capabilities if one is not pci]
    replaced_pci = msgspec.structs.replace(pci, virtual_functions=own_functions)
    own_device = msgspec.structs.replace(devices[0], capabilities=(replaced_pci, *others))
    return [own_device, *devices[1:]]


@cache
def _copied(address: str) -> str:
    [device] = snapshot_of(_SAMPLE).by_sysname(address)
    return msgspec.json.encode(device).decode()


def gpu_host(cards: int, functions: int) -> Host:
    """Return a host with cards in use: each has one open vGPU more than the one before."""
    devices, nodes, open_files = [], {}, []
    for number in range(cards):
        found = card(0x10 + number, functions, range(number))
        devices += found
        for place, device in enumerate(found[1 : 1 + number]):
            node = f"/dev/vfio/{number * functions + place}"
            nodes[node] = [device.path or ""]
            if place % 2 == 0:
                vm = Vm(f"guest-{number}-{place}", None)
                process = Process(100 + place, "qemu-system-x86", vm)
                open_files.append(OpenFiles(process, frozenset({node}), frozenset(), 0))
    usage = VfioUsage(nodes, ProcessScan(tuple(open_files), 0, False))
    return Host(title="gpu-host", snapshot=Snapshot(devices), usage=usage)


class Placed(NamedTuple):
    """A line of text in a picture."""

    text: str
    left: float
    right: float
    y: float
    box: tuple[float, float] | None
    """left and right edge of the slice, cell or chip that it belongs to"""


def texts_of(svg: str) -> Iterator[Placed]:
    """Yield the texts of a picture, as wide as they are by the table of widths."""
    for text in etree.fromstring(svg.encode()).iter(f"{SVG}text"):
        x, css = float(text.get("x", "0")), text.get("class", "")
        spans = list(text) or [text]
        runs = [Run(one.text or "", one.get("class", "")) for one in spans]
        wide = sum(run.width for run in runs)
        wide += (len(runs) - 1) * (3 + width(" ", 12))
        left = x - wide if "nd-e" in css else x - wide / 2 if "nd-c" in css else x
        box = None
        parent = text.getparent()
        rectangle = None if parent is None else parent.find(f"{SVG}rect")
        if parent is not None and parent.get("role") == "img" and rectangle is not None:
            begin = float(rectangle.get("x", "0"))
            box = begin, begin + float(rectangle.get("width", "0"))
        joined = " ".join([run.text for run in runs])
        yield Placed(joined, left, left + wide, float(text.get("y", "0")), box)
