"""assignment: the device to assign, after all checks that depend on the device alone."""

from __future__ import annotations

from typing import NamedTuple

from nodedevd.names import PciAddress
from nodedevd.questions.hostdev.request import Model


class Assignment(NamedTuple):
    """The device to assign: an mdev with a model, or a PCI function without one."""

    name: str
    source: str | PciAddress
    """UUID of an mdev, address of a PCI function"""
    model: Model | None
    managed: bool = False
    vgpu: bool = False
    """whether it is a PCI function that is a vGPU"""
