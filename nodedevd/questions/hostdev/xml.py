"""xml: writes `<hostdev>`, by "Host device assignment" in libvirt.org/formatdomain.html."""

from __future__ import annotations

from nodedevd.kinds.shared.ccw import CcwAddress
from nodedevd.names import PciAddress
from nodedevd.questions.hostdev.assignment import Assignment
from nodedevd.questions.hostdev.request import HostDevRequest
from nodedevd.xml_writer import Out


def write_hostdev(
    request: HostDevRequest, assigned: Assignment, address: PciAddress | CcwAddress | None
) -> str:
    """Return the element of a device, with these options."""
    attributes = {"mode": "subsystem"}
    if assigned.model is None:
        attributes |= {"type": "pci", "managed": _yes_or_no(assigned.managed)}
    else:
        attributes |= {"type": "mdev", "model": assigned.model}
    if request.display is not None:
        attributes["display"] = "on" if request.display else "off"
    if request.ramfb:
        attributes["ramfb"] = "on"
    out = Out()
    with out.begin("hostdev", **attributes):
        if request.iommufd is not None:
            out.empty("driver", iommufd=_yes_or_no(request.iommufd))
        with out.begin("source"):
            if isinstance(assigned.source, PciAddress):
                out.empty("address", **assigned.source.attributes)
            else:
                out.empty("address", uuid=assigned.source)
        if request.boot_order is not None:
            out.empty("boot", order=str(request.boot_order))
        if isinstance(address, PciAddress):
            out.empty("address", type="pci", **address.attributes)
        elif address is not None:
            out.empty("address", type="ccw", **address.attributes)
    return str(out)


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"
