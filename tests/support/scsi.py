"""Words that build SCSI: hosts, remote ports, targets, logical units and their disks.

Layout: drivers/scsi/scsi_sysfs.c, scsi_scan.c, scsi_transport_fc.c and sd.c; each returns the
path of what it made.
"""

from __future__ import annotations

import os

from tests.support.trees import Attributes, Tree


def host(
    tree: Tree,
    number: int,
    *,
    above: str,
    unique_id: int | str | None = 0,
    proc_name: str | None = None,
    fc: Attributes | None = None,
) -> str:
    """Make a SCSI host.

    Args:
        tree: The tree.
        number: Its number.
        above: The path of its adapter.
        unique_id: The driver's number of it; None leaves the attribute out.
        proc_name: The driver's name of itself; None leaves the attribute out.
        fc: The attributes of its Fibre Channel side, if it has one.
    """
    name = f"host{number}"
    path = tree.device(f"{above}/{name}", bus="scsi", uevent={"DEVTYPE": "scsi_host"})
    values = {"unique_id": unique_id, "proc_name": proc_name}
    _class_device(tree, path, "scsi_host", {k: v for k, v in values.items() if v is not None})
    if fc is not None:
        _class_device(tree, path, "fc_host", fc)
    return path


def remote_port(tree: Tree, above: str, name: str, port_name: str | None) -> str:
    """Make a Fibre Channel remote port below a SCSI host; it is a device of no bus."""
    path = tree.device(f"{above}/{name}")
    values = {} if port_name is None else {"port_name": port_name}
    _class_device(tree, path, "fc_remote_ports", {**values, "roles": "FCP Target"})
    return path


def target(tree: Tree, above: str, address: str) -> str:
    """Make a target, H:B:T, below a SCSI host or a remote port."""
    return tree.device(f"{above}/target{address}", bus="scsi", uevent={"DEVTYPE": "scsi_target"})


def unit(
    tree: Tree,
    above: str,
    lun: int,
    *,
    driver: str | None = None,
    type_: int | str | None = 0,
    vendor: str = "ATA",
    model: str = "Example Disk",
    rev: str = "1.0",
) -> str:
    """Make a logical unit of a target; its texts are padded as SCSI does."""
    address = f"{os.path.basename(above).removeprefix('target')}:{lun}"
    values: dict[str, str | int | None] = {
        "type": type_,
        "vendor": f"{vendor:8}",
        "model": f"{model:16}",
        "rev": f"{rev:4}",
    }
    return tree.device(
        f"{above}/{address}",
        bus="scsi",
        driver=driver,
        uevent={"DEVTYPE": "scsi_device"},
        attributes={key: value for key, value in values.items() if value is not None},
    )


def _class_device(tree: Tree, path: str, class_: str, attributes: Attributes) -> str:
    """Make what a transport shows of a device: a device of a class, and of the same name."""
    name = os.path.basename(path)
    child = tree.device(f"{path}/{class_}/{name}", class_=class_, attributes=attributes)
    tree.kernel_link(f"{child}/device", path)
    return child
