"""form: what may stand in an entry `[[card]]` of a layout file; from it comes the JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

_Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
_Type: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=256,
        description="ID or name of the type, as `nodedevctl types` prints them.",
        examples=["NVIDIA A2-4Q", "nvidia-746", "1148", "vfio_ap-passthrough"],
    ),
]
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1024)]
_Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=0xFFFE)]
_Numbers: TypeAlias = Annotated[tuple[_Number, ...], msgspec.Meta(min_length=1, max_length=1024)]
_Attributes: TypeAlias = Annotated[
    tuple[Annotated[str, msgspec.Meta(max_length=4352)], ...], msgspec.Meta(max_length=256)
]


class VgpusTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some vGPUs of one type: mdevs with any UUID, or profiles of functions with vendor VFIO."""

    type: _Type
    count: Annotated[
        _Count | None,
        msgspec.Meta(description="Number of vGPUs. Default: one for each placement or function."),
    ] = None
    placement: Annotated[
        _Numbers | None,
        msgspec.Meta(
            description="Placement IDs, one for each vGPU, on a card with vGPUs of several sizes.",
        ),
    ] = None
    functions: Annotated[
        _Numbers | None,
        msgspec.Meta(
            description="Numbers of the virtual functions that hold them: N of virtfnN.",
        ),
    ] = None


class MdevTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One mdev whose UUID matters."""

    uuid: Annotated[str, msgspec.Meta(min_length=36, max_length=36)]
    type: _Type
    function: Annotated[
        _Number | None,
        msgspec.Meta(
            description="Number of the virtual function that is its parent. Default: the card,"
            " or a free function."
        ),
    ] = None
    active: Annotated[
        bool, msgspec.Meta(description="Whether it is active, and not only defined.")
    ] = True
    define: Annotated[bool, msgspec.Meta(description="Whether mdevctl has a definition.")] = True
    autostart: Annotated[
        bool | None,
        msgspec.Meta(
            description="Whether mdevctl starts it with its parent. Default: as its definition"
            " says; a new one is not."
        ),
    ] = None
    attributes: Annotated[
        _Attributes | None,
        msgspec.Meta(
            description="Vendor attributes as NAME=VALUE, in the order in which they are written."
            " Default: whatever it has.",
            examples=[["assign_adapter=5", "assign_domain=71"]],
        ),
    ] = None


class CardTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one card, or each card of one model, should offer."""

    address: Annotated[
        _Text | None,
        msgspec.Meta(
            description="PCI address of the card, with its domain.", examples=["0000:3b:00.0"]
        ),
    ] = None
    slots: Annotated[
        _Text | None,
        msgspec.Meta(
            description="PCI host bridge, and the slot of each bridge down to the card.",
            examples=["pci0000:3a/00.0/00.0"],
        ),
    ] = None
    parent: Annotated[
        _Text | None,
        msgspec.Meta(
            description="Kernel name of an mdev parent that is no PCI function.",
            examples=["mtty", "matrix", "0.0.0313"],
        ),
    ] = None
    vendor: Annotated[
        _Text | None,
        msgspec.Meta(description="PCI vendor ID; needs product.", examples=["0x10de"]),
    ] = None
    product: Annotated[
        _Text | None,
        msgspec.Meta(
            description="PCI device ID. Every card with these two is meant.", examples=["0x25b6"]
        ),
    ] = None
    virtual_functions: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)] | Literal["all"] | None,
        msgspec.Meta(description="Number of virtual functions. Default: as many as there are."),
    ] = None
    driver: Annotated[
        Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None,
        msgspec.Meta(
            description="Driver of the virtual functions; without virtual_functions, of the card"
            " itself. Default: whatever it is.",
            examples=["vfio-pci"],
        ),
    ] = None
    vgpus: Annotated[tuple[VgpusTable, ...], msgspec.Meta(max_length=256)] = ()
    mdevs: Annotated[tuple[MdevTable, ...], msgspec.Meta(max_length=1024)] = ()
    spare: Annotated[
        _Number,
        msgspec.Meta(
            description="Number of the last virtual functions that are left alone: they get no"
            " driver and no vGPU."
        ),
    ] = 0
    remove_unnamed: Annotated[
        bool,
        msgspec.Meta(description="Whether vGPUs of the card that are not named here are removed."),
    ] = False
    keep: Annotated[
        bool, msgspec.Meta(description="Whether what drifts away later is put right by itself.")
    ] = False


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a layout: what the cards of a host should offer."""

    card: tuple[CardTable, ...] = ()


KEYS: Final[dict[str, tuple[str, ...]]] = {
    "card": CardTable.__struct_fields__,
    "vgpus": VgpusTable.__struct_fields__,
    "mdevs": MdevTable.__struct_fields__,
    "": File.__struct_fields__,
}
"""The keys of each kind of table, by the key under which it stands."""


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a layout file, for editors that check TOML with it."""
    (reference,), definitions = msgspec.json.schema_components(
        [File], ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:nodedevd:schema:layout:1",
        "title": "A file of /etc/nodedevd/layout.d",
        **reference,
        "$defs": definitions,
    }
