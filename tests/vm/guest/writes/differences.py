"""What may differ between libvirtd and nodedevd, one entry each; nothing else may.

Each is a row of docs/libvirt-clients.md.
"""

from __future__ import annotations

import re

from tests.vm.guest.writes.compare import Difference, Outcomes
from tests.vm.guest.writes.records import DIED, HANGS, Noted
from tests.vm.guest.writes.script import PARENT

CHANGING = (": define ", ": update ", ": autostart ")
"""The calls that may send an update of the device that they are about."""
DONE = r"Answer\(status=0"
ATTRIBUTE = re.compile(r" *<attr [^>]*/>\n")
GROUP = re.compile(r" *<iommuGroup number='\d+'/>\n")


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
    if "<path>" in noted.answer.out:
        return noted
    return noted._replace(answer=noted.answer._replace(out=GROUP.sub("", noted.answer.out)))


def _alive(noted: Noted) -> Noted:
    """Leave out that libvirtd ended, and had to be asked again."""
    return noted._replace(astray=[one for one in noted.astray if one not in (DIED, HANGS)])


def _without_attributes(noted: Noted) -> Noted:
    """Leave out attributes of an mdev that runs, which are those of its definition."""
    answer = noted.answer
    if "<path>" not in answer.out:
        return noted
    return noted._replace(answer=answer._replace(out=ATTRIBUTE.sub("", answer.out)))


def _without_attempts(noted: Noted) -> Noted:
    """Leave out what a create that failed had made for a moment; it may be told with the next."""
    events = list(noted.events)
    for event, name in noted.events:
        if event == "created" and ("deleted", name) in events:
            events.remove(("created", name))
            events.remove(("deleted", name))
    return noted._replace(events=events) if ": create " in noted.call else noted


def _without_ghost(noted: Noted) -> Noted:
    """Leave out the same, and that libvirtd may show it until the next event."""
    failed = ": create " in noted.call and noted.answer.status != 0
    astray = [one for one in noted.astray if not (failed and one.startswith("+active "))]
    return _without_attempts(noted._replace(astray=astray))


def _of_today(noted: Noted) -> Noted:
    """Put what 11.3 says of a document in place of what 9.0 does."""
    err = noted.answer.err.replace("(node_device_definition):1: ", "at line 1: ")
    err = err.replace("Document is empty\n(null)\n^", "Document is empty\n")
    return noted._replace(answer=noted.answer._replace(err=err))


REFUSED = r"Answer\(status=1"
UNSUPPORTED = "unsupported configuration: Unsupported device type"
NO_EVENT = r"\[\], \{"
MANUAL, AUTO = r'"start": "manual"', r'"start": "auto"'

DIFFERENCES = (
    Difference("each create or removal", theirs=_without_bystanders, ours=_without_the_parent),
    Difference("a create that fails at an attribute", _without_ghost, _without_attempts),
    Difference("XML of an mdev that is not active", theirs=_without_group),
    Difference("XML of an mdev that runs and is defined", theirs=_without_attributes),
    Difference("an error of the document", theirs=_of_today),
    Outcomes("create of a UUID that is defined", "define: create ", DIED, DONE),
    Outcomes(
        "update of a device that is no mdev",
        "update: update (computer|mtty_mtty) ",
        HANGS,
        "Unsupported device type",
    ),
    Difference("many calls in turn", theirs=_alive),
    Outcomes(
        "virtual HBAs (NPIV)",
        "create .*scsi_host",
        "Device is not a fibre channel HBA|not capable of vport operations",
        UNSUPPORTED,
    ),
    Outcomes(
        "the text of code 92",
        "--validate|update",
        r"(failed to validate|Unable to validate doc) against .*/schemas/nodedev.rng",
        r"failed to validate against schema: .*libvirt-mdev.rng",
    ),
    Outcomes(
        "define of a type that the parent does not offer",
        r"unlike: define .*(mtty-9|pci_|\.\./x)",
        DONE,
        "Unable to define mediated device: Error: ",
    ),
    Outcomes(
        "define of a type that the parent does not offer",
        "unlike: start ",
        "Unable to create mediated device: Error: (Parent mtty does not|Invalid attribute)",
        "no node device with matching name",
    ),
    Outcomes("define of an existing UUID, update", "unlike: (define|update)", MANUAL, AUTO),
    Outcomes(
        "define of an existing UUID, update",
        "unlike: info",
        r"Autostart:      no|mtty_mtty 0 1 0",
        r"Autostart:      yes|mtty_mtty 0 1 1",
    ),
    Outcomes("define of an existing UUID, update", "unlike: autostart", AUTO, DONE),
    Outcomes("define, update of what is so already", "unlike: define", "updated", NO_EVENT),
    Outcomes("the same on Debian 12", "unlike: define", "Cowardly refusing to overwrite", DONE),
    Outcomes("documents: a document type", "unlike: create <!DOCTYPE", DONE, "XML error: "),
    Outcomes(
        "elements or attributes in a namespace", "unlike: create .*xmlns", DONE, "XML error: "
    ),
    Outcomes(
        "destroy of what nodedevd did not make",
        "unlike: destroy",
        DONE,
        "operation forbidden: .* nodedevctl remove --force",
    ),
    Outcomes("several definitions of one UUID", "unlike: start", REFUSED, DONE),
    Outcomes("several definitions of one UUID", "unlike: undefine", DONE, DONE),
    Outcomes(
        "parents that libvirt does not list",
        "unlike: (create|define) .*mdpy_mdpy",
        "invalid parent device",
        DONE,
    ),
)
