"""The recorded host laptop-usb-wifi."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.support.trees import Tree

USB_MAJOR, DRM_MAJOR = 189, 226

GPU, XHCI = "0000:00:02.0", "0000:00:14.0"
WIRELESS, ETHERNET = "0000:00:14.3", "0000:00:1f.6"

GENESYS = {"ID_VENDOR_ID": "05e3", "ID_VENDOR_FROM_DATABASE": "Genesys Logic, Inc."}
SANDISK = {"ID_VENDOR_ID": "0781", "ID_VENDOR_FROM_DATABASE": "SanDisk Corp."}
LINUX = {"ID_VENDOR_ID": "1d6b", "ID_VENDOR_FROM_DATABASE": "Linux Foundation"}


def laptop_usb_wifi(tree: Tree) -> None:
    """A laptop with a stick behind a hub, wireless and wired, and nodes of every DRM kind."""
    functions = [
        (GPU, 0x46A6, 0x030000, "i915"),
        (XHCI, 0x51ED, 0x0C0330, "xhci_hcd"),
        (WIRELESS, 0x51F0, 0x028000, "iwlwifi"),
        (ETHERNET, 0x1A1E, 0x020000, "e1000e"),
    ]
    for address, device, class_, driver in functions:
        tree.pci(address, vendor=0x8086, device=device, class_=class_, driver=driver, revision=0x01)
    names = {
        0x46A6: "Alder Lake-P GT2 [Iris Xe Graphics]",
        0x51ED: "Alder Lake PCH USB 3.2 xHCI Host Controller",
        0x51F0: "Alder Lake-P PCH CNVi WiFi",
        0x1A1E: "Ethernet Connection (16) I219-LM",
    }
    tree.pci_ids({(0x8086, "Intel Corporation"): names})
    _usb(tree)
    _drm(tree)
    _interface(tree, "eno1", ETHERNET, 2, address="02:00:00:00:0e:01", state="down")
    _interface(tree, "wlp0s20f3", WIRELESS, 3, address="02:00:00:00:0e:02", devtype="wlan")


def _usb(tree: Tree) -> None:
    """Two root hubs, a hub with a stick, and Bluetooth, of which udev's database knows nothing."""
    host = tree.resolve(XHCI)
    for bus, speed, product, name in [(1, 480, 2, "2.0 root hub"), (2, 20000, 3, "3.0 root hub")]:
        root = _usb_device(
            tree,
            f"{host}/usb{bus}",
            (bus, 1),
            (0x1D6B, product),
            speed,
            strings=("Linux 6.12.0 xhci-hcd", "xHCI Host Controller", XHCI),
            udev={**LINUX, "ID_MODEL_ID": f"{product:04x}", "ID_MODEL_FROM_DATABASE": name},
        )
        _usb_interface(tree, root, f"{bus}-0:1.0", 0, (9, 0, 0), driver="hub", udev=LINUX)
    usb1 = f"{host}/usb1"

    bluetooth = _usb_device(tree, f"{usb1}/1-10", (1, 3), (0x8087, 0x0033), 12)
    for number in range(2):
        name = f"1-10:1.{number}"
        _usb_interface(tree, bluetooth, name, number, (224, 1, 1), driver="btusb")

    hub = _usb_device(
        tree,
        f"{usb1}/1-1",
        (1, 2),
        (0x05E3, 0x0610),
        480,
        strings=("GenesysLogic", "USB2.1 Hub", None),
        udev={**GENESYS, "ID_MODEL_ID": "0610", "ID_MODEL_FROM_DATABASE": "Hub"},
    )
    _usb_interface(tree, hub, "1-1:1.0", 0, (9, 0, 1), driver="hub", udev=GENESYS)
    model = {
        **SANDISK,
        "ID_MODEL_ID": "5581",
        "ID_MODEL_FROM_DATABASE": "Ultra",
        "ID_BUS": "usb",
        "ID_MODEL": "Ultra",
        "ID_SERIAL": "SanDisk_Ultra_0000000000000001",
        "ID_SERIAL_SHORT": "0000000000000001",
    }
    stick = _usb_device(
        tree,
        f"{hub}/1-1.4",
        (1, 5),
        (0x0781, 0x5581),
        480,
        strings=("SanDisk", "Ultra", "0000000000000001"),
        udev=model,
    )
    storage = _usb_interface(
        tree, stick, "1-1.4:1.0", 0, (8, 6, 0x50), driver="usb-storage", udev=SANDISK
    )
    _stick(tree, storage)


def _stick(tree: Tree, storage: str) -> None:
    """Make what SCSI sees of the stick."""
    host = tree.device(f"{storage}/host0", bus="scsi", uevent={"DEVTYPE": "scsi_host"})
    tree.device(f"{host}/scsi_host/host0", class_="scsi_host", attributes={"unique_id": 0})
    target = tree.device(f"{host}/target0:0:0", bus="scsi", uevent={"DEVTYPE": "scsi_target"})
    lun = tree.device(
        f"{target}/0:0:0:0",
        bus="scsi",
        driver="sd",
        uevent={"DEVTYPE": "scsi_device", "MODALIAS": "scsi:t-0x00"},
        attributes={"type": 0, "vendor": "SanDisk ", "model": "Ultra           "},
    )
    node = tree.device(
        f"{lun}/scsi_generic/sg0",
        class_="scsi_generic",
        uevent={"MAJOR": 21, "MINOR": 0, "DEVNAME": "sg0"},
        attributes={"dev": "21:0"},
    )
    tree.kernel_link(f"{node}/device", lun)
    disk = tree.block(
        "sda",
        above=f"{lun}/block",
        device=lun,
        size=60063744,
        attributes={"dev": "8:0", "removable": 1},
    )
    uevent = {"MAJOR": 8, "MINOR": 0, "DEVNAME": "sda", "DEVTYPE": "disk"}
    tree.file(f"{disk}/uevent", "".join(f"{key}={value}\n" for key, value in uevent.items()))
    serial = "SanDisk_Ultra_0000000000000001-0:0"
    tree.udev(
        disk,
        {"ID_BUS": "usb", "ID_TYPE": "disk", "ID_MODEL": "Ultra", "ID_SERIAL": serial},
        links=[
            f"disk/by-id/usb-{serial}",
            "disk/by-path/pci-0000:00:14.0-usb-0:1.4:1.0-scsi-0:0:0:0",
        ],
    )


def _usb_device(
    tree: Tree,
    path: str,
    place: tuple[int, int],
    ids: tuple[int, int],
    speed: int,
    *,
    strings: Sequence[str | None] = (None, None, None),
    udev: Mapping[str, str] | None = None,
) -> str:
    """Make a device: bus and number, vendor and product, its three strings."""
    bus, number = place
    minor = (bus - 1) * 128 + number - 1
    node = f"bus/usb/{bus:03d}/{number:03d}"
    described = dict(zip(("manufacturer", "product", "serial"), strings, strict=True))
    device = tree.device(
        path,
        bus="usb",
        driver="usb",
        uevent={
            "MAJOR": USB_MAJOR,
            "MINOR": minor,
            "DEVNAME": node,
            "DEVTYPE": "usb_device",
            "BUSNUM": f"{bus:03d}",
            "DEVNUM": f"{number:03d}",
        },
        attributes={
            "dev": f"{USB_MAJOR}:{minor}",
            "busnum": bus,
            "devnum": number,
            "idVendor": f"{ids[0]:04x}",
            "idProduct": f"{ids[1]:04x}",
            "speed": speed,
            **{key: text for key, text in described.items() if text is not None},
        },
    )
    tree.udev(device, {"BUSNUM": f"{bus:03d}", "DEVNUM": f"{number:03d}", **(udev or {})})
    return device


def _usb_interface(
    tree: Tree,
    device: str,
    name: str,
    number: int,
    codes: tuple[int, int, int],
    *,
    driver: str,
    udev: Mapping[str, str] | None = None,
) -> str:
    """Make an interface: class, subclass and protocol."""
    path = tree.device(
        f"{device}/{name}",
        bus="usb",
        driver=driver,
        uevent={"DEVTYPE": "usb_interface"},
        attributes={
            "bInterfaceNumber": f"{number:02x}",
            "bInterfaceClass": f"{codes[0]:02x}",
            "bInterfaceSubClass": f"{codes[1]:02x}",
            "bInterfaceProtocol": f"{codes[2]:02x}",
        },
    )
    if udev:
        tree.udev(path, udev)
    return path


def _drm(tree: Tree) -> None:
    """The integrated GPU with the nodes of Linux before and after 4.11, and a minor past 191."""
    gpu = f"{tree.resolve(GPU)}/drm"
    for name, minor, link in [
        ("card0", 0, "card"),
        ("controlD64", 64, None),
        ("renderD128", 128, "render"),
    ]:
        node = _drm_minor(tree, f"{gpu}/{name}", minor)
        if link is not None:
            tree.udev(node, links=[f"dri/by-path/pci-{GPU}-{link}"])
    for connector in ("card0-DP-1", "card0-eDP-1"):
        tree.device(f"{gpu}/card0/{connector}", class_="drm", uevent={"DEVTYPE": "drm_connector"})
    vkms = tree.device("/sys/devices/platform/vkms", bus="platform")
    _drm_minor(tree, f"{vkms}/drm/card192", 192)
    tree.file("/sys/class/drm/version", "drm 1.1.0 20060810\n")


def _drm_minor(tree: Tree, path: str, minor: int) -> str:
    return tree.device(
        path,
        class_="drm",
        uevent={
            "MAJOR": DRM_MAJOR,
            "MINOR": minor,
            "DEVNAME": f"dri/{path.rpartition('/')[2]}",
            "DEVTYPE": "drm_minor",
        },
        attributes={"dev": f"{DRM_MAJOR}:{minor}"},
    )


def _interface(
    tree: Tree,
    name: str,
    parent: str,
    index: int,
    *,
    address: str,
    state: str = "up",
    devtype: str | None = None,
) -> None:
    path = tree.net(name, parent=parent, devtype=devtype, address=address, operstate=state)
    lines = [f"DEVTYPE={devtype}"] if devtype else []
    lines += [f"INTERFACE={name}", f"IFINDEX={index}"]
    tree.file(f"{path}/uevent", "".join(f"{line}\n" for line in lines))
    tree.udev(path, {"ID_BUS": "pci", "ID_NET_NAME_MAC": f"enx{address.replace(':', '')}"})
