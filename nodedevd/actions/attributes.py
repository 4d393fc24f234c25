"""attributes: vendor attributes that are written to a device right after it was made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from nodedevd.actions.plan import Write
from nodedevd.errors import NotPossible
from nodedevd.kinds.vgpu import CURRENT, DIRECTORY

_NOT_OF_THE_DEVICE = frozenset(
    {"remove", "uevent", "driver", "subsystem", "mdev_type", "iommu_group", "driver_override"}
)
"""What the kernel has beside the attributes of a driver: actions, and links that lead away."""


class NamedValue(Protocol):
    """An attribute, of a request or of a definition."""

    @property
    def name(self) -> str:
        """Path of the attribute below the device."""

    @property
    def value(self) -> str:
        """Text that is written to it."""


def attributes_of_mdev(name: str, path: str, attributes: Iterable[NamedValue]) -> tuple[Write, ...]:
    """Return the steps that write attributes of a new mdev, in order.

    Whether the driver has them shows when they are written: until then the mdev does not exist.

    Args:
        name: The mdev, as it is called in an error.
        path: Its sysfs path.
        attributes: The attributes.

    Raises NotPossible.
    """
    for one in attributes:
        parts = one.name.split("/")
        if {"", ".", ".."} & set(parts) or parts[0] in _NOT_OF_THE_DEVICE or "\0" in one.name:
            detail = f"{one.name!r} is no attribute of its driver, such as nvidia/vgpu_params"
            raise NotPossible(name, "bad-attribute", detail)
    return _writes(path, attributes)


def attributes_of_function(
    name: str, path: str, attributes: Sequence[NamedValue]
) -> tuple[Write, ...]:
    """Return the steps that write attributes of a function with a new profile, in order.

    Raises NotPossible: only what NVIDIA's driver has for its vGPU may be written.
    """
    for one in attributes:
        if one.name.rpartition("/")[0] != DIRECTORY or one.name == CURRENT:
            detail = f"{one.name!r} is no attribute of its vGPU, such as nvidia/vgpu_params"
            raise NotPossible(name, "bad-attribute", detail)
    return _writes(path, attributes)


def _writes(path: str, attributes: Iterable[NamedValue]) -> tuple[Write, ...]:
    return tuple(
        Write(f"{path}/{one.name}", one.value, before=None, of_new=True) for one in attributes
    )
