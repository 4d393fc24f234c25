"""What may differ between libvirtd and nodedevd, one entry each; nothing else may.

Each is a row of docs/libvirt-clients.md.
"""

from __future__ import annotations

from tests.vm.guest.writes.compare import Difference, Outcomes
from tests.vm.guest.writes.records import Noted
from tests.vm.guest.writes.script import PARENT

CHANGING = (": define ", ": update ", ": autostart ", ": undefine ")
"""The calls that may send an update of the device that they are about."""
DONE = r"Answer\(status=0"


def _without_bystanders(noted: Noted) -> Noted:
    """Leave out updates of devices that the call was not about, and those of what was created."""
    kept = []
    for event, name in noted.events:
        about = any(word in noted.call for word in CHANGING) and (
            name.rpartition("_")[0].rpartition("_")[2] in noted.call
        )
        if event != "updated" or about:
            kept.append((event, name))
    return noted._replace(events=kept)


def _without_the_parent(noted: Noted) -> Noted:
    """Leave out updates of the parent, whose counts have changed."""
    return noted._replace(events=[one for one in noted.events if one != ("updated", PARENT)])


def _without_group(noted: Noted) -> Noted:
    """Leave out the group that an inactive mdev is not in."""
    out = noted.answer.out.replace("    <iommuGroup number='0'/>\n", "")
    return noted._replace(answer=noted.answer._replace(out=out))


DIFFERENCES = (
    Difference("each create or removal", theirs=_without_bystanders, ours=_without_the_parent),
    Difference("an mdev that is not active", theirs=_without_group),
    Outcomes(
        "define of a type that the parent does not offer",
        "unlike: define .*(mtty-9|pci_|\\.\\./x)",
        DONE,
        "internal error: Unable to define mediated device: Error: ",
    ),
)
