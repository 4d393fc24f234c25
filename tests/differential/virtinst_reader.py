"""Reads node devices as virt-manager does. Run by Debian's own Python, which has `virtinst`.

Documents come on standard input as a JSON array, what is read of them goes out as another.
"""

import json
import sys

sys.path.insert(0, "/usr/share/virt-manager")
from virtinst import NodeDevice

FIELDS = (
    *("name", "parent", "device_type", "domain", "bus", "slot", "function", "product_id"),
    *("vendor_id", "device", "interface", "host", "target", "lun", "block", "drive_type"),
    *("drm_type", "type_id", "uuid", "media_available"),
)


def read(text: str) -> dict[str, object]:
    """Return what virt-manager's parser finds in a document."""
    device = NodeDevice(None, parsexml=text)
    return {name: getattr(device, name) for name in FIELDS}


json.dump([read(text) for text in json.load(sys.stdin)], sys.stdout)
