"""Domains with one `<hostdev>`, and what libvirt makes of them: its schema, and its drivers.

The drivers run inside of virsh, which needs no libvirtd: the test driver parses and validates
as every driver does, the QEMU driver also asks what QEMU can do.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from lxml import etree

from tests.support.running import PATIENCE_SECONDS

SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
VIRSH = shutil.which("virsh")
QEMU = Path("/usr/bin/qemu-system-x86_64")
TEST_DRIVER = "test:///default"
_NOBODY = 65534
_DRIVER = "/usr/lib/{}/libvirt/connection-driver/libvirt_driver_qemu.so"
HAS_QEMU_DRIVER = (
    VIRSH is not None
    and QEMU.exists()
    and Path(_DRIVER.format(sysconfig.get_config_var("MULTIARCH"))).exists()
)


def domain(name: str, hostdev: str, *, kind: str = "test") -> str:
    """Return a minimal domain that has the device, and a display."""
    s390 = "vfio-ccw" in hostdev or "vfio-ap" in hostdev
    machine = "arch='s390x'" if s390 else "arch='x86_64' machine='q35'"
    return f"""\
<domain type='{kind}'>
<name>{name}</name>
<memory>131072</memory>
<os><type {machine}>hvm</type></os>
<devices>
<emulator>{QEMU}</emulator>
<graphics type='vnc'/>
{hostdev}</devices>
</domain>
"""


def defined(hostdevs: Mapping[str, str], *, uri: str = TEST_DRIVER) -> dict[str, str]:
    """Define a domain for each device; return the domains that virsh dumps, by the same keys.

    A domain that is refused is what virsh says of it.
    """
    with TemporaryDirectory() as directory:
        commands = []
        names = {f"guest{number}": key for number, key in enumerate(hostdevs)}
        kind = "test" if uri == TEST_DRIVER else "qemu"
        for name, key in names.items():
            file = Path(directory) / f"{name}.xml"
            file.write_text(domain(name, hostdevs[key], kind=kind))
            commands.append(f"echo @{name}@ ; define {file} ; dumpxml {name}")
        printed = _virsh(directory, uri, " ; ".join(commands))
    found = re.findall(r"@(guest\d+)@(.*?)(?=@guest\d+@|\Z)", printed, re.DOTALL)
    return {names[name]: text.strip() for name, text in found}


def defined_by_qemu(hostdevs: Mapping[str, str]) -> dict[str, str]:
    """Do the same by the QEMU driver, for a user whose files are all in one directory."""
    with TemporaryDirectory() as directory:
        if os.geteuid() == 0:
            os.chown(directory, _NOBODY, _NOBODY)
        return defined(hostdevs, uri=f"qemu:///embed?root={directory}")


def _virsh(directory: str, uri: str, commands: str) -> str:
    assert VIRSH is not None
    user: int | None = None
    if os.geteuid() == 0:
        # The QEMU driver of root wants users that Debian makes for libvirtd.
        user = _NOBODY
        os.chown(directory, user, user)
    done = subprocess.run(
        [VIRSH, "-q", "-c", uri, commands],
        env={**os.environ, "LC_ALL": "C", "HOME": directory},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )
    return done.stdout


def hostdev_of(dumped: str) -> etree._Element:
    """Return the device of a domain that virsh dumped, without what libvirt adds to any mdev."""
    assert dumped.startswith("<domain"), dumped
    (found,) = etree.fromstring(dumped).iterfind("devices/hostdev")
    if found.get("type") == "mdev":
        found.attrib.pop("managed")
    return found
