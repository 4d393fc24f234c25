"""native: the XML of any device is valid by its schema, and has all values of the device."""

from __future__ import annotations

import re
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.host.faults import Fault
from nodedevd.kinds import AnyCapability
from nodedevd.kinds.accel import Accel
from nodedevd.kinds.ap_card import ApCard
from nodedevd.kinds.ap_matrix import ApMatrix
from nodedevd.kinds.ap_queue import ApQueue
from nodedevd.kinds.base import HardwareId
from nodedevd.kinds.ccw import Ccw
from nodedevd.kinds.ccwgroup import CcwGroup, CcwMember, Qeth
from nodedevd.kinds.css import Css
from nodedevd.kinds.drm import Drm
from nodedevd.kinds.infiniband import Infiniband, InfinibandPort, InfinibandRate
from nodedevd.kinds.mdev_child import MdevChild, MdevChildType
from nodedevd.kinds.mdev_parent import MdevParent, MdevType
from nodedevd.kinds.net import Net, NetLink
from nodedevd.kinds.pci import IommuGroup, Pci, VirtualFunctions
from nodedevd.kinds.pci.config import PciExpress, PciLink
from nodedevd.kinds.pci.vpd import Vpd, VpdField, VpdReadOnly, VpdReadWrite
from nodedevd.kinds.scsi import Scsi
from nodedevd.kinds.scsi_generic import ScsiGeneric
from nodedevd.kinds.scsi_host import FcHost, ScsiHost, VportOps
from nodedevd.kinds.scsi_target import FcRemotePort, ScsiTarget
from nodedevd.kinds.shared.vfio import VfioDevice
from nodedevd.kinds.shared.vgpu_types import TypeFacts
from nodedevd.kinds.storage import Removable, Storage
from nodedevd.kinds.system import Firmware, Hardware, System
from nodedevd.kinds.usb import Usb
from nodedevd.kinds.usb_device import UsbDevice
from nodedevd.kinds.vdpa import Vdpa
from nodedevd.kinds.vgpu import Vgpu, VgpuType
from nodedevd.model.device import Device
from nodedevd.model.layout import LAYOUT_STATES, CardLayout
from tests.support.golden import DIRECTORY
from tests.support.running import REPOSITORY
from tests.support.xml import attributes, find, native_document, native_xml, valid, validate

ROOT = REPOSITORY

MINIMAL = """\
<device>
  <name>computer</name>
  <capability type='system'>
    <hardware>
    </hardware>
    <firmware>
    </firmware>
  </capability>
</device>
"""

# Any device: texts are free where the host is, and as its reader makes them elsewhere.
text = st.text(max_size=12)
maybe = st.none() | text
name = st.from_regex(r"[A-Za-z0-9_]{1,12}", fullmatch=True)
path = text.map(lambda end: f"/sys/x{end}")
number = st.integers(0, 2**63 - 1)
address = st.from_regex(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]", fullmatch=True) | text
ids = st.builds(HardwareId, st.from_regex(r"0x[0-9a-f]{4}", fullmatch=True), maybe)
speed = st.none() | st.sampled_from([2.5, 5.0, 8.0, 16.0, 32.0, 64.0, 128.0])
width = st.integers(0, 63)
system = st.builds(
    System,
    maybe,
    st.builds(Hardware, maybe, maybe, maybe, maybe),
    st.builds(Firmware, maybe, maybe, maybe),
)
vpd_fields = st.lists(
    st.builds(VpdField, st.from_regex("[0-9A-Z]", fullmatch=True), text), max_size=2
).map(tuple)
vfio_device = st.none() | text.flatmap(
    lambda vfio: st.sampled_from(
        [VfioDevice(vfio, None), VfioDevice(vfio, f"/dev/vfio/devices/v{vfio}")]
    )
)
pci = st.builds(
    Pci,
    address=st.none()
    | st.from_regex(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]", fullmatch=True),
    class_code=st.none() | st.from_regex(r"0x[0-9a-f]{6}", fullmatch=True),
    vendor=st.none() | ids,
    product=st.none() | ids,
    subsystem_vendor=st.none() | ids,
    subsystem_product=st.none() | ids,
    revision=st.none() | st.from_regex(r"0x[0-9a-f]{2}", fullmatch=True),
    physical_function=st.none() | address,
    virtual_functions=st.none()
    | st.builds(VirtualFunctions, st.none() | number, st.lists(address, max_size=3).map(tuple)),
    bridge=st.sampled_from([None, "pci-bridge", "cardbus-bridge"]),
    vpd=st.none()
    | st.builds(
        Vpd,
        maybe,
        st.none() | st.builds(VpdReadOnly, maybe, maybe, maybe, maybe, vpd_fields),
        st.none() | st.builds(VpdReadWrite, maybe, vpd_fields, vpd_fields),
    ),
    iommu_group=st.none() | st.builds(IommuGroup, number, st.lists(address, max_size=3).map(tuple)),
    numa_node=st.none() | number,
    pci_express=st.none()
    | st.just(PciExpress())
    | st.builds(
        PciExpress,
        st.builds(PciLink, speed, width, st.integers(0, 255)),
        st.builds(PciLink, speed, width),
    ),
    vfio_device=vfio_device,
)
facts = st.none() | st.builds(
    TypeFacts,
    framebuffer_bytes=number,
    nominal_bytes=st.none() | number,
    class_letter=st.sampled_from([None, "A", "B", "C", "Q"]),
    heads=st.none() | number,
    max_resolution=st.none() | st.just("5120x2880"),
    weight=st.none() | number,
)
profile = st.builds(VgpuType, number.map(str), maybe, facts)
vgpu = st.builds(
    Vgpu,
    current=st.none() | profile,
    creatable=st.none() | st.lists(profile, max_size=3).map(tuple),
    params=maybe,
    placement_id=maybe,
    gpu_instance_id=maybe,
)
mdev_parent = st.builds(
    MdevParent,
    st.lists(
        st.builds(
            MdevType,
            text,
            maybe,
            maybe,
            facts,
            maybe,
            st.none() | number,
            st.lists(text, max_size=3).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    st.lists(text, max_size=3).map(tuple),
)
mdev_child = st.builds(
    MdevChild,
    uuid=text,
    mdev_type=st.none() | st.builds(MdevChildType, text, maybe, maybe),
    parent=st.none() | name,
    parent_addr=text,
    parent_path=path,
    iommu_group=st.none() | number,
    vfio_device=vfio_device,
    state=st.sampled_from(["complete", "incomplete", "removing"]),
)
net = st.builds(
    Net,
    interface=text,
    address=maybe,
    devtype=maybe,
    link=st.builds(NetLink, maybe, st.none() | st.integers(1, 400_000)),
    features=st.none() | st.lists(st.sampled_from(["rx", "gro", "rdma", "txudptnl"])).map(tuple),
    medium=st.sampled_from(["80203", "80211"]),
)
storage = st.builds(
    Storage,
    block=text.map(lambda end: f"/dev/x{end}"),
    bus=maybe,
    drive_type=st.sampled_from([None, "disk", "cdrom", "floppy", "sd", "dasd"]),
    model=maybe,
    vendor=maybe,
    serial=maybe,
    removable=st.none() | st.builds(Removable, st.none() | st.booleans(), maybe),
    size_bytes=st.none() | number,
    logical_block_size=st.none() | number,
)
wwn = st.none() | st.from_regex(r"[0-9a-f]{16}", fullmatch=True)
scsi_host = st.builds(
    ScsiHost,
    host=st.just(5),
    unique_id=st.none() | number,
    fc_host=st.none() | st.builds(FcHost, wwn, wwn, wwn),
    vport_ops=st.none() | st.builds(VportOps, st.none() | number, st.none() | number),
    proc_name=maybe,
)
scsi_target = st.builds(
    ScsiTarget, text, st.none() | st.builds(FcRemotePort, st.just("rport-5:0-0"), wwn)
)
scsi = st.builds(
    Scsi,
    host=number,
    bus=number,
    target=number,
    lun=number,
    scsi_type=st.sampled_from([None, "disk", "tape", "mod", "enclosure"]),
    vendor=maybe,
    model=maybe,
    rev=maybe,
)
byte = st.none() | st.integers(0, 255)
usb_id = st.builds(HardwareId, st.from_regex(r"0x[0-9a-f]{4}", fullmatch=True), maybe)
usb_device = st.builds(
    UsbDevice,
    bus=st.none() | number,
    device=st.none() | number,
    product=st.none() | usb_id,
    vendor=st.none() | usb_id,
    serial=maybe,
    speed_mbit=st.none() | st.integers(0, 9_999_999).map(lambda tenths: tenths / 10),
)
usb = st.builds(Usb, byte, byte, byte, byte, maybe)
drm = st.builds(Drm, st.sampled_from(["primary", "control", "render"]))
rate = st.builds(
    InfinibandRate, st.integers(0, 9999).map(lambda halves: halves / 2), number, st.none() | text
)
port = st.builds(InfinibandPort, number, maybe, maybe, maybe, st.none() | number, st.none() | rate)
infiniband = st.builds(
    Infiniband, maybe, maybe, maybe, maybe, maybe, maybe, st.lists(port, max_size=2).map(tuple)
)
accel = st.builds(Accel, text.map(lambda end: f"/dev/x{end}"), maybe, maybe)
scsi_generic = st.builds(ScsiGeneric, text.map(lambda end: f"/dev/x{end}"))
vdpa = st.builds(Vdpa, st.none() | st.integers(0).map(lambda n: f"/dev/vhost-vdpa-{n}"))
ccw_address = st.none() | st.from_regex(r"[0-9a-f]{1,2}\.[0-3]\.[0-9a-f]{4}", fullmatch=True)
state = st.sampled_from([None, "online", "offline"])
ccw = st.builds(Ccw, state, ccw_address, st.none() | name, maybe, maybe)
css = st.builds(Css, ccw_address, ccw_address, st.none() | number)
ccwgroup = st.builds(
    CcwGroup,
    state,
    ccw_address,
    st.lists(name, max_size=3).map(
        lambda names: tuple(CcwMember(f"cdev{n}", one) for n, one in enumerate(names))
    ),
    st.none()
    | st.builds(
        Qeth, st.sampled_from(["qeth_generic", "qeth_layer2", "qeth_layer3"]), maybe, maybe
    ),
)
ap_card = st.builds(ApCard, st.integers(0, 255), maybe)
ap_queue = st.builds(ApQueue, st.integers(0, 255), st.integers(0, 0xFFFF))
ap_matrix = st.builds(ApMatrix, st.lists(text, max_size=3).map(tuple))
capabilities = st.one_of(
    st.tuples(system), st.tuples(pci), st.tuples(pci, mdev_parent), st.tuples(mdev_parent),
    st.tuples(mdev_child), st.tuples(vgpu), st.tuples(mdev_parent, mdev_child), st.tuples(net),
    st.tuples(storage), st.tuples(scsi_host), st.tuples(scsi_target), st.tuples(scsi),
    st.tuples(usb_device), st.tuples(usb), st.tuples(drm), st.tuples(scsi_generic),
    st.tuples(vdpa), st.tuples(ccw), st.tuples(css, mdev_parent), st.tuples(css),
    st.tuples(ccwgroup), st.tuples(ap_card), st.tuples(ap_queue),
    st.tuples(ap_matrix, mdev_parent), st.tuples(accel), st.tuples(infiniband),
    st.just(()),
)  # fmt: skip
faults = st.builds(
    Fault,
    text,
    st.sampled_from(["absent", "refused", "unreadable", "malformed", "internal"]),
    text,
)


def promised(of: tuple[AnyCapability, ...]) -> set[str]:
    """Return the attributes whose absence is a fault."""
    missing = {"class", "vendor", "device", "mdev_type/device_api", "size"}
    missing |= {"fc_host/host5/node_name", "fc_host/host5/port_name"}
    missing.add("../fc_remote_ports/rport-5:0-0/port_name")
    missing |= {"busnum", "devnum", "idVendor", "idProduct", "online", "card_type", "chpid"}
    missing |= {"node_type", "node_guid", "sys_image_guid"}
    missing |= {f"bInterface{code}" for code in ("Number", "Class", "SubClass", "Protocol")}
    for capability in of:
        if isinstance(capability, MdevParent):
            for one in capability.types:
                missing.add(f"mdev_supported_types/{one.id}/device_api")
                missing.add(f"mdev_supported_types/{one.id}/available_instances")
        if isinstance(capability, Infiniband):
            for port in capability.ports:
                names = ("state", "phys_state", "link_layer")
                missing |= {f"ports/{port.number}/{name}" for name in names}
    return missing


layouts = st.none() | st.builds(
    CardLayout,
    state=st.sampled_from(LAYOUT_STATES),
    reasons=st.lists(text, max_size=2).map(tuple),
    file=text,
)


@st.composite
def devices(draw: st.DrawFn) -> Device:
    """Draw a device, with a fault for each promised attribute that is missing."""
    has = draw(capabilities)
    missing = draw(st.permutations(sorted(promised(has))))
    return Device(
        name=draw(name),
        path=draw(st.none() | path),
        parent=draw(st.none() | name),
        subsystem=draw(maybe),
        sysname=draw(maybe),
        driver=draw(maybe),
        capabilities=has,
        errors=(
            *draw(st.lists(faults, max_size=3)),
            *[Fault(attribute, "absent", "") for attribute in missing],
        ),
        devnode=draw(maybe),
        devlinks=tuple(draw(st.lists(text, max_size=2))),
        layout=draw(layouts),
    )


@pytest.mark.slow
@given(devices())
def test_any_device_is_valid(device: Device) -> None:
    """For every device, the document is well-formed, and its schema accepts it."""
    root = validate(native_xml(device))
    assert root.findtext("name") == device.name
    assert tuple(one.get("type") for one in root.findall("capability")) == device.types
    assert len(root.findall("errors/error")) == len(device.errors)


@pytest.mark.slow
@given(st.lists(devices(), max_size=3), number)
def test_document_holds_its_devices(several: list[Device], generation: int) -> None:
    """Each is indented by one level, and the same otherwise."""
    document = native_document(several, generation)
    root = validate(document)
    assert root.get("generation") == str(generation)
    assert [one.findtext("name") for one in root] == [device.name for device in several]


def test_document_indents_its_devices() -> None:
    """A device in a document is indented by two blanks, and the same otherwise."""
    computer = Device("computer", None, None, None, None, None, (System(),), (), None, ())
    assert native_xml(computer) == MINIMAL
    assert native_document([computer], 7) == (
        f"<devices generation='7'>\n{textwrap.indent(MINIMAL, '  ')}</devices>\n"
    )
    assert native_document([], 1) == "<devices generation='1'>\n</devices>\n"


def test_every_part_of_a_device_has_its_place() -> None:
    """Name, path, parent, driver, capabilities, layout, errors."""
    device = Device(
        name="pci_0000_00_02_0",
        path="/sys/devices/pci0000:00/0000:00:02.0",
        parent="computer",
        subsystem="pci",
        sysname="0000:00:02.0",
        driver="i9'15",
        capabilities=(MdevParent((), ()),),
        errors=(
            Fault("mdev_supported_types", "absent", ""),
            Fault("config", "refused", "<&>"),
        ),
        devnode="/dev/thing",
        devlinks=("/dev/by-id/a&b",),
        layout=CardLayout("blocked", ("it is open", "a & b"), "/etc/nodedevd/layout.d/a.toml"),
    )
    document = native_xml(device)
    validate(document)
    assert document == (
        "<device>\n"
        "  <name>pci_0000_00_02_0</name>\n"
        "  <path>/sys/devices/pci0000:00/0000:00:02.0</path>\n"
        "  <devnode type='dev'>/dev/thing</devnode>\n"
        "  <devnode type='link'>/dev/by-id/a&amp;b</devnode>\n"
        "  <parent>computer</parent>\n"
        "  <driver>\n"
        "    <name>i9&apos;15</name>\n"
        "  </driver>\n"
        "  <capability type='mdev_parent'>\n"
        "  </capability>\n"
        "  <layout state='blocked'>\n"
        "    <file>/etc/nodedevd/layout.d/a.toml</file>\n"
        "    <reason>it is open</reason>\n"
        "    <reason>a &amp; b</reason>\n"
        "  </layout>\n"
        "  <errors>\n"
        "    <error attribute='mdev_supported_types' code='absent' detail=''/>\n"
        "    <error attribute='config' code='refused' detail='&lt;&amp;&gt;'/>\n"
        "  </errors>\n"
        "</device>\n"
    )


def test_value_is_unknown_only_with_a_fault_of_its_own() -> None:
    """A fault of one type's attribute does not affect another type."""
    types = tuple(MdevType(one, None, None, None, "vfio-pci", 1, ()) for one in ("a", "b"))
    fault = Fault("mdev_supported_types/a/name", "unreadable", "EIO")
    device = Device(
        "x", "/sys/x", "computer", None, "x", None, (MdevParent(types, ()),), (fault,), None, ()
    )
    root = validate(native_xml(device))
    assert attributes(find(root, "capability/type[@id='a']/name")) == {"state": "unknown"}
    assert root.find("capability/type[@id='b']/name") is None


@pytest.mark.parametrize(
    "document",
    [
        "<node/>",
        "<devices/>",
        "<devices generation='-1'/>",
        "<devices generation='1'><capability type='system'/></devices>",
        MINIMAL.replace("<name>computer</name>", ""),
        MINIMAL.replace("computer", "com-puter"),
        MINIMAL.replace("'system'", "'usb'"),
        MINIMAL.replace("<firmware>", "<firmware odd=''>"),
        MINIMAL.replace("<firmware>", "<firmware><odd/>"),
        MINIMAL.replace("<firmware>", "<firmware><vendor state='known'/>"),
        MINIMAL.replace("<firmware>", "<firmware><vendor state='unknown'>but known</vendor>"),
        MINIMAL.replace("</device>", "<errors/></device>"),
        MINIMAL.replace("</device>", "<layout state='odd'><file>a</file></layout></device>"),
        MINIMAL.replace("</device>", "<layout state='in-sync'/></device>"),
        MINIMAL.replace("</device>", "<odd/></device>"),
        MINIMAL.replace(
            "</device>", "<errors><error attribute='' code='odd' detail=''/></errors></device>"
        ),
        "<device><name>a</name><path>/dev/x</path></device>",
        "<device><name>a</name><parent>b</parent><path>/sys/x</path></device>",
    ],
)
def test_schema_refuses_what_nodedevd_never_writes(document: str) -> None:
    """A schema that accepts every document would test nothing."""
    assert valid(MINIMAL)
    assert not valid(document)


def test_examples_in_the_documentation_are_real() -> None:
    """Each device shown in docs/xml.md stands so in a golden, and is valid."""
    shown = re.findall(
        r"^```xml\n(<device>.*?)^```$",
        (ROOT / "docs" / "xml.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    goldens = [one.read_text(encoding="utf-8") for one in DIRECTORY.glob("*/native.xml")]
    assert len(shown) >= 2
    for example in shown:
        validate(example)
        inner = "\n".join(
            f"  {line}" if line.startswith(("<", " ")) else line for line in example.splitlines()
        )
        assert any(inner in golden for golden in goldens)
