"""Domains with a `<hostdev>`, and what libvirt makes of them: its schema, and its drivers.

The drivers run inside of virsh, which needs no libvirtd: the test driver parses and validates
as every driver does, the QEMU driver also asks what QEMU can do.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple, TypeAlias

from lxml import etree

from tests.support.running import PATIENCE_SECONDS

SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
VIRSH = shutil.which("virsh")
QEMU = Path("/usr/bin/qemu-system-x86_64")
_DRIVER = "/usr/lib/{}/libvirt/connection-driver/libvirt_driver_qemu.so"
HAS_QEMU_DRIVER = (
    VIRSH is not None
    and QEMU.exists()
    and Path(_DRIVER.format(sysconfig.get_config_var("MULTIARCH"))).exists()
)
_NOBODY = 65534

Kind: TypeAlias = Literal["test", "qemu", "kvm"]
"""The attribute `type` of a domain."""


class Driver(NamedTuple):
    """A driver of libvirt inside of virsh."""

    virsh: tuple[str, ...]
    """the command"""
    directory: Path
    """where it can read, and where the QEMU driver keeps its domains"""


@contextmanager
def driver(kind: Kind) -> Iterator[Driver]:
    """Yield the driver of such domains; what it knows goes with it."""
    assert VIRSH is not None
    with TemporaryDirectory() as name:
        command: tuple[str, ...] = ("env", "LC_ALL=C.UTF-8", f"HOME={name}", VIRSH, "-c")
        if os.geteuid() == 0:
            # The QEMU driver of root wants users that Debian makes for libvirtd.
            os.chown(name, _NOBODY, _NOBODY)
            user = ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups")
            command = (*user, *command)
        uri = "test:///default" if kind == "test" else f"qemu:///embed?root={name}/libvirt"
        yield Driver((*command, uri), Path(name))


def domain(name: str, hostdev: str, *, kind: Kind = "test") -> str:
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


def defined(hostdevs: Mapping[str, str], *, kind: Kind = "test") -> dict[str, str]:
    """Define a domain for each device; return the domains that virsh dumps, by the same keys.

    A domain that is refused is what virsh says of it.
    """
    names = {f"guest{number}": key for number, key in enumerate(hostdevs)}
    with driver(kind) as (virsh, directory):
        commands = []
        for name, key in names.items():
            file = directory / f"{name}.xml"
            file.write_text(domain(name, hostdevs[key], kind=kind))
            commands.append(f"echo @{name}@ ; define {file} ; dumpxml {name}")
        done = subprocess.run(
            [*virsh, "-q", " ; ".join(commands)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    found = re.findall(r"@(guest\d+)@(.*?)(?=@guest\d+@|\Z)", done.stdout, re.DOTALL)
    return {names[name]: text.strip() for name, text in found}


def hostdev_of(dumped: str) -> etree._Element:
    """Return the device of a domain that virsh dumped, without what libvirt adds to any mdev."""
    assert dumped.startswith("<domain"), dumped
    (found,) = etree.fromstring(dumped).iterfind("devices/hostdev")
    if found.get("type") == "mdev":
        found.attrib.pop("managed")
    return found
