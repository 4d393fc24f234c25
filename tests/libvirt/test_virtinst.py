"""virt-manager's own parser reads every document of the libvirt format, from a connection, too."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nodedevd.formats import libvirt
from nodedevd.kinds.drm import Drm
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.net import Net
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.scsi import Scsi
from nodedevd.kinds.storage import Storage
from nodedevd.kinds.usb_device import UsbDevice
from nodedevd.model.device import Device
from nodedevd.names import parse_pci
from tests.libvirt.test_virsh import served
from tests.support.hosts import HOSTS, host_file, snapshot_of
from tests.support.xml import libvirt_xml

PYTHON = "/usr/bin/python3"
READER = Path(__file__).with_name("virtinst_reader.py")
TIMEOUT_SECONDS = 60
CAPABILITIES_REFUSED = (
    "this function is not supported by the connection driver: CONNECT_GET_CAPABILITIES"
)

pytestmark = pytest.mark.needs("virtinst")


def run_virtinst(*arguments: str, text: str | None = None) -> Any:
    """Run virt-manager's code, and return what it came to."""
    done = subprocess.run(
        [PYTHON, str(READER), *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def expected(device: Device) -> dict[str, object]:
    """Return what virt-manager has to find, from the model."""
    wanted: dict[str, object] = {}
    for cap in device.capabilities:
        match cap:
            case Pci(address=str(text)) if (address := parse_pci(text)) is not None:
                names = ("domain", "bus", "slot", "function")
                wanted |= {name: str(number) for name, number in zip(names, address, strict=True)}
                if cap.vendor is not None and cap.product is not None:
                    wanted |= {"vendor_id": cap.vendor.id, "product_id": cap.product.id}
            case UsbDevice():
                wanted |= {"bus": str(cap.bus), "device": str(cap.device)}
            case Net():
                wanted |= {"interface": cap.interface}
            case Scsi():
                wanted |= {"host": str(cap.host), "target": str(cap.target), "lun": str(cap.lun)}
            case Storage():
                wanted |= {"block": cap.block, "drive_type": cap.drive_type}
            case Drm():
                wanted |= {"drm_type": cap.minor_type}
            case MdevChild(mdev_type=mdev_type) if mdev_type is not None:
                wanted |= {"uuid": cap.uuid, "type_id": mdev_type.id}
    return wanted


def placed(host: str) -> list[Device]:
    """Return the devices of a host as the libvirt format has them."""
    snapshot = snapshot_of(host)
    return [libvirt.placed(device, snapshot) for device in snapshot if libvirt.shows(device)]


def compare(devices: list[Device], found: list[dict[str, Any]]) -> None:
    """Fail unless virt-manager has found these devices, in this order."""
    assert [one["name"] for one in found] == [device.name for device in devices]
    assert [one["parent"] for one in found] == [device.parent for device in devices]
    for device, one in zip(devices, found, strict=True):
        wanted = expected(device)
        assert {name: one[name] for name in wanted} == wanted
        assert one["device_type"]


@pytest.mark.parametrize("host", sorted(HOSTS))
def test_virt_manager_finds_type_address_and_parent(host: str) -> None:
    """Name, parent, type and all that tells the device apart are what the host has."""
    devices = placed(host)
    documents = [libvirt_xml(device) for device in devices]
    compare(devices, run_virtinst(text=json.dumps(documents)))


@pytest.mark.needs("libvirt-python")
@pytest.mark.parametrize("host", sorted(HOSTS))
def test_virt_manager_lists_every_device_on_a_connection(host: str, tmp_path: Path) -> None:
    """All are there, as in their documents; only a hypervisor's capabilities are refused."""
    devices = placed(host)
    documents = [libvirt_xml(device) for device in devices]
    with served(tmp_path, host_file(host)) as daemon:
        answer = run_virtinst(daemon.uri)
    compare(devices, answer["devices"])
    assert answer["devices"] == run_virtinst(text=json.dumps(documents))
    assert answer["refused"] == CAPABILITIES_REFUSED
