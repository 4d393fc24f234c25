"""new_mdev: assigns an mdev that does not exist yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from shlex import quote
from typing import NamedTuple

from nodedevd.errors import DoesNotFit, NoSuchDevice, NoSuchType
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.hostdev.assignment import Assignment
from nodedevd.questions.hostdev.facts import HostDevFacts
from nodedevd.questions.hostdev.mdev import checked_model
from nodedevd.questions.hostdev.refusal import not_assignable
from nodedevd.questions.hostdev.request import HostDevRequest, Model, parse_new_mdev
from nodedevd.questions.vgpus import (
    VgpuFunction,
    matching_offers,
    nearest_types,
    vgpu_functions_in_steps,
)
from nodedevd.steps import Steps
from nodedevd.text import abbreviated

# The id of a type begins with the name of its driver.
_API_OF_DRIVER: dict[str, Model] = {
    "vfio_ap": "vfio-ap",
    "vfio_ccw": "vfio-ccw",
    "nvidia": "vfio-pci",
    "i915": "vfio-pci",
}


class _Offered(NamedTuple):
    """How this host offers a type."""

    apis: list[str]
    """the known device APIs of mdev parents"""
    parents: list[str]
    functions: list[str]
    """functions with vendor VFIO, which create no mdevs"""


def assign_new_mdev(
    snapshot: Snapshot, request: HostDevRequest, facts: HostDevFacts, notes: list[str]
) -> Steps[Assignment]:
    """Return the assignment of a UUID, in steps. Raises as `hostdev`."""
    uuid = parse_new_mdev(request.name)
    defined = None
    with suppress(NoSuchDevice):
        device = snapshot.lookup(uuid)
        mdev = device.capability(MdevChild)
        if mdev is not None and mdev.state == "removing":
            detail = "the kernel has not finished removing an mdev of this UUID; choose another"
            raise not_assignable(device.name, "exists", detail)
        if mdev is not None and mdev.state != "inactive" and not request.managed_by_hook:
            detail = "it already exists; omit --not-created, or choose another UUID"
            raise not_assignable(device.name, "exists", detail)
        if mdev is not None and mdev.defined:
            defined = None if mdev.mdev_type is None else mdev.mdev_type.id
            of_type = "" if defined is None else f", of type {defined}"
            notes.append(f"mdevctl has a definition of it{of_type} on {mdev.parent_addr}")
    type_ = request.type or defined
    functions: list[VgpuFunction] = []
    if type_ is not None:
        functions = yield from vgpu_functions_in_steps(snapshot)
    model = _from_host(functions, request, uuid, type_, notes)
    return Assignment(uuid, uuid, model or _guess(request, defined, facts, notes))


def _from_host(
    functions: Sequence[VgpuFunction],
    request: HostDevRequest,
    uuid: str,
    type_: str | None,
    notes: list[str],
) -> Model | None:
    """Return the model that the request or the parents of the type decide, None if neither does."""
    if type_ is None:
        return request.model
    offered = _offered(functions, type_)
    if len(offered.apis) == 1:
        return checked_model(uuid, offered.apis[0], request.model)
    if offered.apis:
        apis = ", ".join(offered.apis)
        if request.model is None:
            detail = f"this host offers the type {type_!r} as {apis}; choose with --model"
            raise not_assignable(uuid, "api-unknown", detail)
        if request.model not in offered.apis:
            raise DoesNotFit(uuid, "model", f"this host offers the type {type_!r} as {apis}")
        return request.model
    if offered.functions and not offered.parents:
        text = f"this host creates {type_!r} without an mdev, as a profile of a virtual function"
        if request.model is None:
            detail = (
                f"{text}; create it on one of {abbreviated(offered.functions)}, and assign that"
                f" function: nodedevctl create {quote(type_)} --hostdev. With --model, the XML is"
                " for another host"
            )
            raise not_assignable(uuid, "without-mdev", detail)
        notes.append(f"{text}: {abbreviated(offered.functions)}")
    elif offered.parents:
        notes.append(f"the device_api of {type_!r} cannot be read on this host")
    elif request.type is not None and request.model is None:
        raise NoSuchType(type_, nearest_types(functions, type_))
    else:
        notes.append(f"no parent on this host offers the type {type_!r}")
    return request.model


def _guess(
    request: HostDevRequest, defined: str | None, facts: HostDevFacts, notes: list[str]
) -> Model:
    """Return the likely model, by the driver in the type's id, or else by the architecture."""
    driver = (request.type or defined or "").partition("-")[0]
    if driver in _API_OF_DRIVER:
        model = _API_OF_DRIVER[driver]
        notes.append(f"the model {model} is a guess from the type's driver, {driver}")
        return model
    arch = request.arch or facts.machine
    guess: Model = "vfio-ccw" if arch.lower().startswith("s390") else "vfio-pci"
    of_host = "" if request.arch else " of this host"
    notes.append(
        f"the model {guess} is a guess from the architecture {arch}{of_host};"
        " give --type or --model to be sure"
    )
    return guess


def _offered(capable: Iterable[VgpuFunction], type_: str) -> _Offered:
    apis = set()
    parents, functions = [], []
    for function in capable:
        for one in matching_offers(function, type_):
            if function.framework == "vendor-vfio":
                functions.append(function.device)
                continue
            parents.append(function.device)
            if one.device_api is not None:
                apis.add(one.device_api)
    return _Offered(sorted(apis), parents, functions)
