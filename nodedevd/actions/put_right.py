"""put_right: the request that puts one difference from a layout right."""

from __future__ import annotations

from collections.abc import Iterable

from nodedevd.actions.requests import (
    Attribute,
    Bind,
    Create,
    Define,
    Modify,
    Remove,
    Request,
    SetVirtualFunctions,
    Start,
)
from nodedevd.kinds.shared.mdevctl import MdevAttribute
from nodedevd.kinds.vgpu import DIRECTORY
from nodedevd.layout.difference import (
    AnyDifference,
    BindFunction,
    CreateVgpus,
    DefineMdev,
    ModifyMdev,
    RemoveVgpu,
    SetFunctions,
    StartMdev,
)


def request_for(difference: AnyDifference) -> Request:
    """Return the request, to be asked by the layout. Raises InvalidParameter."""
    match difference:
        case SetFunctions():
            return SetVirtualFunctions(name=difference.card, number=difference.number)
        case BindFunction():
            return Bind(name=difference.function, driver=difference.driver)
        case DefineMdev():
            return Define(
                type=difference.type,
                parent=difference.parent,
                uuid=difference.uuid,
                autostart=difference.autostart,
                attributes=_attributes(difference.attributes),
            )
        case ModifyMdev():
            return Modify(
                name=difference.name,
                parent=difference.parent,
                type=difference.type if difference.definition else None,
                autostart=difference.autostart if difference.definition else None,
                attributes=_attributes(difference.attributes),
                live=True if difference.live and difference.definition else None,
                live_only=True if difference.live and not difference.definition else None,
            )
        case StartMdev():
            return Start(name=difference.uuid, parent=difference.parent)
        case CreateVgpus():
            attributes = _attributes(difference.attributes)
            if difference.placement is not None:
                attributes.append(Attribute(f"{DIRECTORY}/placement_id", str(difference.placement)))
            return Create(
                type=difference.type,
                names=[difference.function],
                uuid=difference.uuid,
                count=difference.count,
                attributes=attributes or None,
            )
        case RemoveVgpu():
            return Remove(name=difference.name)


def _attributes(attributes: Iterable[MdevAttribute]) -> list[Attribute]:
    return [Attribute(one.name, one.value) for one in attributes]
