"""Reads node devices as virt-manager does. Run by Debian's own Python, which has `virtinst`.

Documents come on standard input as a JSON array, what is read of them goes out as another. With a
URI, the devices come from a connection to there, and what that refused goes out, too.
"""

import json
import sys

sys.path.insert(0, "/usr/share/virt-manager")
from virtinst import NodeDevice, VirtinstConnection
from virtinst.connection import libvirt

FIELDS = (
    *("name", "parent", "device_type", "domain", "bus", "slot", "function", "product_id"),
    *("vendor_id", "device", "interface", "host", "target", "lun", "block", "drive_type"),
    *("drm_type", "type_id", "uuid", "media_available"),
)


def fields(device: NodeDevice) -> dict[str, object]:
    """Return what virt-manager's parser has found in a device's document."""
    return {name: getattr(device, name) for name in FIELDS}


def read() -> list[dict[str, object]]:
    """Return what is found in the documents on standard input."""
    return [fields(NodeDevice(None, parsexml=text)) for text in json.load(sys.stdin)]


def fetch(uri: str) -> dict[str, object]:
    """Return the devices that virt-manager lists on a connection, and what was refused it."""
    connection = VirtinstConnection(uri)
    refused = None
    try:
        connection.open(None, None)
    except libvirt.libvirtError as error:
        # The last that it does is to ask for a hypervisor's capabilities; it is connected then.
        if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
            raise
        refused = str(error)
    devices = connection.fetch_all_nodedevs()
    for device in devices:
        assert NodeDevice.lookupNodedevByName(connection, device.name) is device
    connection.close()
    return {"refused": refused, "devices": [fields(device) for device in devices]}


json.dump(fetch(*sys.argv[1:]) if sys.argv[1:] else read(), sys.stdout)
