"""mdev: assigns an mdev that exists, or is defined."""

from __future__ import annotations

from shlex import quote

from nodedevd.errors import DoesNotFit
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import is_uuid
from nodedevd.questions.hostdev.assignment import Assignment
from nodedevd.questions.hostdev.definition import how_to_start
from nodedevd.questions.hostdev.refusal import not_assignable
from nodedevd.questions.hostdev.request import MODELS, HostDevRequest, Model


def assign_mdev(
    snapshot: Snapshot, device: Device, mdev: MdevChild, request: HostDevRequest, notes: list[str]
) -> Assignment:
    """Return the assignment of an mdev. Raises NotAssignable, DoesNotFit."""
    _check(snapshot, device, mdev)
    return Assignment(device.name, mdev.uuid, _model(device, mdev, request, notes))


def _check(snapshot: Snapshot, device: Device, mdev: MdevChild) -> None:
    name = device.name
    if not is_uuid(mdev.uuid):
        detail = f"libvirt identifies an mdev by its UUID, and its name {mdev.uuid!r} is no UUID"
        raise not_assignable(name, "no-address", detail)
    match mdev.state:
        case "inactive":
            raise not_assignable(name, "inactive", how_to_start(snapshot, device, mdev))
        case "incomplete":
            detail = (
                "the kernel has not finished creating it; wait for it:"
                f" nodedevctl wait --device {name} --timeout 10;"
                f" if that does not help, remove it: echo 1 > {quote(f'{device.path}/remove')}"
            )
            raise not_assignable(name, "incomplete", detail)
        case "removing":
            detail = (
                "the kernel is removing it, and waits until no process has it open"
                f" (nodedevctl in-use {name}); create another one"
            )
            raise not_assignable(name, "removing", detail)
    if device.driver is None:
        detail = "no driver is bound to it; remove it and create it again"
        raise not_assignable(name, "no-driver", detail)


def _model(device: Device, mdev: MdevChild, request: HostDevRequest, notes: list[str]) -> Model:
    if device.is_unknown("iommu_group"):
        notes.append("its VFIO group cannot be read")
    elif mdev.iommu_group is None:
        notes.append(
            "it is in no VFIO group, but libvirt needs one to start the guest: "
            "use a kernel that is built with CONFIG_VFIO_GROUP"
        )
    api = None if mdev.mdev_type is None else mdev.mdev_type.device_api
    if api is None:
        if request.model is None:
            detail = "its device_api cannot be read; give it with --model"
            raise not_assignable(device.name, "api-unknown", detail)
        notes.append(f"its device_api cannot be read: the model {request.model} is not checked")
        return request.model
    return checked_model(device.name, api, request.model)


def checked_model(name: str, api: str, asked: Model | None) -> Model:
    """Return the model for a device_api. Raises NotAssignable, DoesNotFit."""
    for model in MODELS:
        if model == api:
            if asked not in (None, model):
                raise DoesNotFit(name, "model", f"its device_api is {api}; omit the model")
            return model
    detail = f"its device_api is {api!r}, but libvirt supports only {', '.join(MODELS)}"
    raise not_assignable(name, "api-unsupported", detail)
