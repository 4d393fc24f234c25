"""Domains as libvirt hands them to a hook, with nodedevd's metadata."""

from __future__ import annotations

from nodedevd.domain_metadata import NAMESPACE

UUID = "6f1d0c1e-7a5b-4c55-9b0e-3d8f0f3c7a01"


def mdev_device(uuid: str) -> str:
    """Return the `<hostdev>` of an mdev."""
    return (
        "<hostdev mode='subsystem' type='mdev' managed='no' model='vfio-pci' display='off'>"
        f"<source><address uuid='{uuid}'/></source></hostdev>"
    )


def pci_device(address: str, managed: str = "no") -> str:
    """Return the `<hostdev>` of a PCI function."""
    domain, bus, rest = address.split(":")
    slot, function = rest.split(".")
    parts = f"domain='0x{domain}' bus='0x{bus}' slot='0x{slot}' function='0x{function}'"
    return (
        f"<hostdev mode='subsystem' type='pci' managed='{managed}'><source><address {parts}/>"
        "</source></hostdev>"
    )


def managed(*vgpus: str) -> str:
    """Return the metadata, of elements that are written with the prefix `n`."""
    return f"<n:managed xmlns:n='{NAMESPACE}'>{''.join(vgpus)}</n:managed>"


def domain_xml(metadata: str = "", devices: str = "", *, uuid: str = UUID) -> bytes:
    """Return the XML of a running domain."""
    return f"""\
<domain type='qemu' id='3'>
  <name>vm1</name>
  <uuid>{uuid}</uuid>
  <metadata>
    <app:note xmlns:app='http://example.org/app'>left alone</app:note>
    {metadata}
  </metadata>
  <devices>
    <disk type='file' device='disk'><source file='/dev/null'/></disk>
    {devices}
  </devices>
</domain>
""".encode()
