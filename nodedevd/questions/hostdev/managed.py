"""managed: the metadata by which the hook for libvirt makes a vGPU, in the XML of its domain.

`formats/domain-metadata.rng` is its schema, and docs/guides/managed-vgpus.md explains it.
"""

from __future__ import annotations

from nodedevd.domain_metadata import FROM, FUNCTION, MANAGED, MDEV, NAMESPACE, PREFIX
from nodedevd.errors import InvalidParameter, NoSuchDevice, NoSuchType
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import PciAddress
from nodedevd.questions.hostdev.assignment import Assignment
from nodedevd.questions.hostdev.refusal import not_assignable
from nodedevd.questions.hostdev.request import HostDevRequest
from nodedevd.questions.vgpus import matching_offers, nearest_types, vgpu_functions_in_steps
from nodedevd.steps import Steps
from nodedevd.xml_writer import Out


def check_managed(request: HostDevRequest) -> None:
    """Refuse parameters that do not go together. Raises InvalidParameter."""
    if not request.managed_by_hook:
        if request.places is not None:
            raise InvalidParameter("places", "needs managed_by_hook")
        return
    if request.type is None:
        raise InvalidParameter("type", "is needed with managed_by_hook")
    if request.places is not None and not request.is_uuid:
        raise InvalidParameter("places", "a function is made a vGPU where it is; leave it out")


def write_metadata(snapshot: Snapshot, request: HostDevRequest, assigned: Assignment) -> Steps[str]:
    """Return the element for the domain's metadata.

    Raises NoSuchDevice for a place, NotAssignable and NoSuchType for a function.
    """
    out = Out()
    type_ = request.type or ""
    with out.begin(f"{PREFIX}:{MANAGED}", **{f"xmlns:{PREFIX}": NAMESPACE}):
        if isinstance(assigned.source, PciAddress):
            yield from _check_function(snapshot, assigned.name, type_)
            out.empty(f"{PREFIX}:{FUNCTION}", address=str(assigned.source), type=type_)
        elif not request.places:
            out.empty(f"{PREFIX}:{MDEV}", uuid=assigned.source, type=type_)
        else:
            with out.begin(f"{PREFIX}:{MDEV}", uuid=assigned.source, type=type_):
                for place in request.places:
                    _check_place(snapshot, place)
                    out.empty(f"{PREFIX}:{FROM}", device=place)
    return str(out)


def _check_place(snapshot: Snapshot, name: str) -> None:
    # mdevctl names a parent by its kernel name, as `create` does.
    if snapshot.find(name) is None and not snapshot.by_sysname(name):
        raise NoSuchDevice(name, snapshot.nearest(name))


def _check_function(snapshot: Snapshot, name: str, wanted: str) -> Steps[None]:
    """Refuse a function that cannot become a vGPU of the type."""
    if snapshot.lookup(name).capability(Vgpu) is None:
        detail = (
            "it has no vendor VFIO, so it cannot become a vGPU; give the UUID of an mdev, or a"
            " virtual function of a card with vendor VFIO"
        )
        raise not_assignable(name, "kind", detail)
    functions = yield from vgpu_functions_in_steps(snapshot)
    own = [one for one in functions if one.device == name]
    if not any(matching_offers(one, wanted) for one in own):
        raise NoSuchType(wanted, nearest_types(own, wanted))
