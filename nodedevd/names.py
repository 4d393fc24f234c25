"""Names of node devices, and PCI addresses.

A name follows libvirt's rule: `<subsystem>_<sysname>`, where every byte that is no ASCII letter
or digit becomes `_`. It is a label, not an identity: two devices may have the same one. Then the
device with the smallest sysfs path keeps it (inactive mdevs come last), and every other has `_`
and eight hex digits of the SHA-256 of its path appended. So names depend only on the set of
devices that exist.
"""

from __future__ import annotations

import re
from typing import NamedTuple

ROOT = "computer"
_FILE_NAME_BYTES = 255  # NAME_MAX

_SAFE = bytes(
    [byte if chr(byte).isascii() and chr(byte).isalnum() else 0x5F for byte in range(256)]
)
"""For each byte, the byte itself or `_`."""
# libvirt's one fixed name: the AP matrix device, /sys/devices/vfio_ap/matrix.
_FIXED = {("matrix", "matrix"): "ap_matrix"}

_HEX = r"[0-9a-f]"
_UUID = re.compile(rf"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}", re.IGNORECASE)
_MDEV = re.compile(
    rf"mdev_({_HEX}{{8}}[-_]{_HEX}{{4}}[-_]{_HEX}{{4}}[-_]{_HEX}{{4}}[-_]{_HEX}{{12}})(?:_(.+))?",
    re.IGNORECASE | re.DOTALL,
)


class MdevName(NamedTuple):
    """The parts of a name `mdev_<uuid>[_<parent>]`."""

    uuid: str
    parent: str | None


def sanitise(text: str) -> str:
    """Replace every byte that is not an ASCII letter or digit by `_`, as libvirt does."""
    return text.encode("utf-8", "surrogateescape").translate(_SAFE).decode("ascii")


def device_name(subsystem: str | None, sysname: str, suffix: str | None = None) -> str:
    """Return the name of a device; without a subsystem it is the kernel name alone."""
    if (subsystem or "", sysname) in _FIXED:
        return _FIXED[subsystem or "", sysname]
    return sanitise("_".join([part for part in (subsystem, sysname, suffix) if part]))


def distinct_name(name: str, path: str) -> str:
    """Return the name of a device if another one with a smaller sysfs path has `name`."""
    import hashlib  # OpenSSL, which hardly any host needs for this

    return f"{name}_{hashlib.sha256(path.encode()).hexdigest()[:8]}"


def is_uuid(text: str) -> bool:
    """Return whether a text is a UUID in its usual form, in either case."""
    return _UUID.fullmatch(text) is not None


def has_uuid(text: str) -> bool:
    """Return whether a part of a text is a UUID, also with `_` for each `-`."""
    return _UUID.search(text.replace("_", "-")) is not None


def is_file_name(text: str) -> bool:
    """Return whether a text is the name of a file in a directory, and nothing but printable."""
    return (
        text not in ("", ".", "..")
        and "/" not in text
        and text.isprintable()
        and len(text.encode(errors="replace")) <= _FILE_NAME_BYTES
    )


def parse_mdev_name(text: str) -> MdevName | None:
    """Parse `mdev_<uuid>`, with `-` or `_`, and libvirt's `mdev_<uuid>_<parent>` (since 7.7).

    Return None for any other text.
    """
    match = _MDEV.fullmatch(text)
    if match is None:
        return None
    return MdevName(match[1].lower().replace("_", "-"), match[2])


def canonical_name(text: str) -> str:
    """Return the name for any accepted form of a name; a path stays a path.

    Use it for devices that may not exist yet; `Snapshot.lookup` finds those that do.
    """
    mdev = parse_mdev_name(text)
    if mdev is not None:
        return device_name("mdev", mdev.uuid)
    if is_uuid(text):
        return device_name("mdev", text.lower())
    address = parse_pci(text)
    return text.rstrip("/") if address is None else device_name("pci", str(address))


# The domain has four hex digits, more on hosts with VMD (domain 0x10000 and up).
_PCI = re.compile(
    r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])",
    re.IGNORECASE,
)


class PciAddress(NamedTuple):
    """The address of a PCI function."""

    domain: int
    bus: int
    slot: int
    function: int

    def __str__(self) -> str:
        return f"{self.domain:04x}:{self.bus:02x}:{self.slot:02x}.{self.function:x}"

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes of libvirt's element `<address>`."""
        return {
            "domain": f"0x{self.domain:04x}",
            "bus": f"0x{self.bus:02x}",
            "slot": f"0x{self.slot:02x}",
            "function": f"0x{self.function:d}",
        }


def parse_pci(text: str) -> PciAddress | None:
    """Parse `dddd:bb:ss.f`; as in lspci(8), the domain may be omitted and is 0 then.

    Return None for any other text.
    """
    match = _PCI.fullmatch(text)
    if match is None:
        return None
    domain, bus, slot, function = match.groups()
    return PciAddress(int(domain or "0", 16), int(bus, 16), int(slot, 16), int(function))
