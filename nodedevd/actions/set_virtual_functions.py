"""set_virtual_functions: sets the number of virtual functions of a physical one.

The kernel only takes another number than 0 when there are none, so a change goes through 0, and
that takes all of them away. NVIDIA's driver for vGPUs refuses the attribute: its own program
enables all functions or none.

ABI    Documentation/PCI/pci-iov-howto.rst, Documentation/ABI/testing/sysfs-bus-pci; NVIDIA vGPU
       software user guide, "Preparing the Virtual Function for an NVIDIA vGPU"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.functions import (
    Function,
    as_recorded,
    function_named,
    functions_at,
    record_of,
)
from nodedevd.actions.host_use import notes_on_open, refuse_if_used
from nodedevd.actions.ownership import Claim, check_claim, living_record
from nodedevd.actions.plan import Expected, Plan, SetVfs, SriovManage, Step
from nodedevd.actions.requests import SetVirtualFunctions
from nodedevd.errors import DeviceInUse, NotPossible
from nodedevd.kinds.pci import VirtualFunctions
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.vgpus import card_of

ONE_AT_A_TIME: Final = "sriov-manage"
"""A card that no host has: two runs of NVIDIA's program disturb each other, whatever the cards."""

_NVIDIA: Final = "0x10de"
_NVIDIA_DRIVER: Final = "nvidia"
_DISPLAY: Final = "0x03"


def plan(snapshot: Snapshot, facts: ActionFacts, request: SetVirtualFunctions) -> Plan:
    """Return how the number of virtual functions is set.

    Raises NoSuchDevice, NotPossible, DeviceInUse, OwnedByOther, MadeByOther, Changed.
    """
    card = function_named(snapshot, request.name)
    sriov = _sriov(card)
    before, number = len(sriov.addresses), request.number
    by_program = _needs_program(card)
    expected = (Expected(path=card.path, active=True, functions=number),)
    cards = sorted({card_of(card.device), *((ONE_AT_A_TIME,) if by_program else ())})
    claim = facts.claim(request)
    functions: list[Function] = []
    steps: list[Step] = []
    if number != before:
        _check_number(card, sriov, number, all_or_none=by_program)
        _check_driver(card)
        if before:
            check_claim(card.name, card.path, facts.records, claim, type_id=as_recorded(before))
            functions = _check_functions(snapshot, card, sriov, before, facts, claim)
        elif living_record(facts.records, card.path, card.device.driver) is not None:
            # It was bound for somebody, whose record that of the number replaces.
            check_claim(card.name, card.path, facts.records, claim, type_id=card.device.driver)
        make = _by_program(card, facts) if by_program else _by_attribute(card)
        steps += [make(0, before)] if before else []
        steps += [make(number, 0)] if number else []
    return Plan(
        action=request.action,
        cards=tuple(cards),
        steps=tuple(steps),
        expected=expected,
        records=(record_of(card, as_recorded(number), facts, claim),) if steps and number else (),
        forgotten=(card.path,) if steps and not number else (),
        forced=claim.force,
        notes=(
            *_notes(steps),
            *notes_on_open(snapshot, [one.device for one in functions], facts),
        ),
    )


def _sriov(card: Function) -> VirtualFunctions:
    if card.pci.physical_function is not None:
        detail = (
            f"it is a virtual function itself; name its physical one, {card.pci.physical_function}"
        )
        raise NotPossible(card.name, "virtual-function", detail)
    if card.pci.virtual_functions is None:
        if card.device.is_unknown("sriov_totalvfs"):
            detail = "its sriov_totalvfs cannot be read, so it cannot be told whether it has SR-IOV"
        else:
            detail = (
                "it has no SR-IOV; if its data sheet says that it has, enable SR-IOV in the"
                " firmware of the host and of the card"
            )
        raise NotPossible(card.name, "no-sriov", detail)
    return card.pci.virtual_functions


def _check_number(
    card: Function, sriov: VirtualFunctions, number: int, *, all_or_none: bool
) -> None:
    most = sriov.maximum
    if most is not None and number > most:
        detail = f"it can have {most} virtual functions at most, not {number}"
        raise NotPossible(card.name, "too-many", detail)
    if all_or_none and number not in (0, most):
        detail = (
            f"NVIDIA's sriov-manage enables all virtual functions or none: give {most} or 0,"
            f" not {number}"
        )
        raise NotPossible(card.name, "all-or-none", detail)


def _check_driver(card: Function) -> None:
    if card.device.driver is None:
        detail = (
            "no driver is bound to it, and the kernel leaves virtual functions to the driver of"
            f" the physical one; bind it first: nodedevctl bind {card.name} DRIVER"
        )
        raise NotPossible(card.name, "no-driver", detail)


def _check_functions(
    snapshot: Snapshot,
    card: Function,
    sriov: VirtualFunctions,
    before: int,
    facts: ActionFacts,
    claim: Claim,
) -> list[Function]:
    """Return the virtual functions, refuse them if they are in use, or belong to somebody."""
    functions = list(functions_at(snapshot, sriov.addresses))
    if len(functions) != before and not claim.force:
        detail = (
            f"{before} virtual functions are enabled, and the tree has {len(functions)}: whether"
            " the others are in use cannot be told; try again when it has them"
        )
        raise DeviceInUse(card.name, False, detail)
    for function in functions:
        driver, own = function.device.driver, replace(claim, generation=None)
        if living_record(facts.records, function.path, driver) is not None:
            check_claim(function.name, function.path, facts.records, own, type_id=driver)
    refuse_if_used(snapshot, [one.device for one in functions], facts, claim)
    return functions


def _needs_program(card: Function) -> bool:
    """Return whether it is a GPU of NVIDIA with NVIDIA's driver."""
    vendor = None if card.pci.vendor is None else card.pci.vendor.id
    is_gpu = (card.pci.class_code or "").startswith(_DISPLAY)
    return vendor == _NVIDIA and is_gpu and card.device.driver == _NVIDIA_DRIVER


def _by_attribute(card: Function) -> Callable[[int, int], Step]:
    return lambda number, before: SetVfs(card.path, number, before)


def _by_program(card: Function, facts: ActionFacts) -> Callable[[int, int], Step]:
    program = facts.sriov_manage
    if program is None:
        detail = (
            "NVIDIA's driver refuses sriov_numvfs, and its program sriov-manage is not installed;"
            " install NVIDIA's vGPU software for the host, which has"
            " /usr/lib/nvidia/sriov-manage"
        )
        raise NotPossible(card.name, "no-sriov-manage", detail)
    sriov = card.pci.virtual_functions
    most = None if sriov is None else sriov.maximum
    return lambda number, before: SriovManage(
        card.path, program, bool(number), had_some=before not in (0, most)
    )


def _notes(steps: Sequence[Step]) -> Iterator[str]:
    if any(isinstance(one, SriovManage) and one.enable for one in steps):
        yield (
            "sriov-manage sets the card to vGPUs of equal sizes; for mixed ones run"
            " `nvidia-smi vgpu -shm 1` before the first vGPU is created"
        )
