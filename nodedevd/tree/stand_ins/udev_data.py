"""udev_data: an entry of udev's database, with those properties that are read, and no others.

udevd stores whatever a rule imports: labels, the serial numbers of a RAID's members, the name of
a user's session. A property has to be in the list below to be recorded.
"""

from __future__ import annotations

from nodedevd.tree.stand_ins.nodes import Nodes
from nodedevd.tree.stand_ins.texts import Texts

PROPERTIES = frozenset(
    {
        *("ID_BUS", "ID_TYPE", "ID_FS_TYPE"),
        *("ID_CDROM", "ID_CDROM_MEDIA", "ID_DRIVE_FLOPPY", "ID_DRIVE_FLASH_SD"),
        *("ID_VENDOR_FROM_DATABASE", "ID_MODEL_FROM_DATABASE"),
    }
)
"""Properties that are read and identify nothing."""
SERIALS = frozenset({"ID_SERIAL_SHORT", "ID_SCSI_SERIAL"})
"""Those that are not read, and whose words have stand-ins elsewhere, such as in a model."""
COMPOSED, LABEL = "ID_SERIAL", "ID_FS_LABEL"
"""Those that are read, and get a stand-in."""
_SOME = "NODEDEVD_RECORDED=1"
"""An entry without any property would say that udevd does not know the device."""


def without_identity(text: str, texts: Texts, nodes: Nodes) -> str:
    """Return an entry: links, and the properties that are read, with stand-ins."""
    kept = []
    properties = False
    for line in text.split("\n"):
        kind, _, value = line.partition(":")
        if kind == "S":
            kept.append(f"S:{nodes.node(value)}")
        elif kind == "E" and "=" in value:
            properties = True
            name, _, value = value.partition("=")
            if name in PROPERTIES:
                kept.append(f"E:{name}={texts.described(value)}")
            elif name in SERIALS:
                texts.learn_serial(value)
            elif name == COMPOSED:
                kept.append(f"E:{name}={texts.composed(value)}")
            elif name == LABEL:
                kept.append(f"E:{name}={texts.secret(value)}")
    if properties and not any(line.startswith("E:") for line in kept):
        kept.append(f"E:{_SOME}")
    return "".join(f"{line}\n" for line in kept)
