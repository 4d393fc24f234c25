"""vgpus: what differs on a card from the vGPUs and mdevs that a layout wants on it.

What is there already is taken for what is wanted, wherever that is possible. The room for what
is missing is that of `questions/fits`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.shared.mdevctl import Definition, MdevAttribute
from nodedevd.kinds.shared.vgpu_types import type_matches
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.layout.card import Card, holder_of
from nodedevd.layout.check import room_without, why_never
from nodedevd.layout.difference import (
    AnyDifference,
    CreateVgpus,
    DefineMdev,
    ModifyMdev,
    RemoveVgpu,
    StartMdev,
)
from nodedevd.layout.facts import LayoutFacts
from nodedevd.layout.wanted import WantedCard, WantedMdev, WantedVgpus
from nodedevd.layout.words import mdev_words, vgpus_words
from nodedevd.model.device import Device
from nodedevd.questions.fits import CardType
from nodedevd.questions.vgpus import (
    Offer,
    VgpuFunction,
    matching_offers,
    nearest_types,
    type_of,
)
from nodedevd.questions.why_not import why_not
from nodedevd.text import abbreviated

_VFIO_AP: Final = "vfio-ap"
_PLENTY: Final = 1 << 20


class _Wish(NamedTuple):
    """One vGPU that is wanted."""

    vgpus: WantedVgpus
    function: int | None
    placement: int | None


def removal(device: Device) -> RemoveVgpu:
    """Return that a vGPU is to be removed."""
    held = type_of(device)
    return RemoveVgpu(
        device.name, None if held is None else held.id, None if held is None else held.name
    )


class _Anew(NamedTuple):
    """An mdev that has to be made anew: it has another type, or is on another function."""

    uuid: str
    device: Device
    wanted: str
    """the type, as the entry says it"""
    function: int | None
    """number of the virtual function that the entry says"""
    parent: str
    offer: Offer


class _Lacking(NamedTuple):
    """A vGPU or mdev for which there is no room now."""

    type: str
    """id, or the type as the entry says it"""
    function: int | None
    """number of the virtual function that the entry says"""


class VgpuComparison:
    """Compares the vGPUs of one card, whose functions and drivers are as wanted."""

    def __init__(self, wanted: WantedCard, card: Card, facts: LayoutFacts) -> None:
        self.differences: list[AnyDifference] = []
        self.blocked: list[str] = []
        self.pending: list[str] = []
        self.later: list[str] = []
        self._wanted = wanted
        self._card = card
        self._facts = facts
        self._claimed: set[str] = set()
        """names of the vGPUs that are wanted as they are"""
        self._planned: Counter[str] = Counter()
        """vGPUs that are created or started on each function"""
        self._room: dict[str, int] = {}
        """how many more of each type may be created on the card"""
        self._short = False
        """whether something is missing for which there is no room"""
        self._anew: list[_Anew] = []
        self._lacking: list[_Lacking] = []
        """what is missing, and for which there is no room"""
        self._names = dict(facts.type_names)
        for function in card.holders.values():
            self._names |= {one.id: one.name for one in function.offers if one.name is not None}
        left_alone = card.spare_names(wanted.spare)
        self._holders = {name: one for name, one in card.holders.items() if name not in left_alone}
        self._numbers = {
            number: one.name for number, one in enumerate(card.functions) if one is not None
        }
        self._named = self._named_functions()
        self._reserved = set(self._named)
        if wanted.vgpus or wanted.mdevs or wanted.remove_unnamed:
            self._compare()

    def _named_functions(self) -> set[str]:
        numbers = [number for one in self._wanted.vgpus for number in one.functions]
        numbers += [one.function for one in self._wanted.mdevs if one.function is not None]
        return {self._numbers[number] for number in numbers if number in self._numbers}

    def _compare(self) -> None:
        if not self._holders:
            if self._wanted.vgpus or self._wanted.mdevs:
                self._explain_none()
            return
        never = why_never(self._wanted, self._card, is_prepared=True)
        if never:  # nothing is done for a layout that cannot come about
            self.blocked += never
            return
        for mdev in sorted(self._wanted.mdevs, key=self._order):
            self._mdev(mdev)
        missing = list(self._missing())
        unnamed = [
            one
            for one in self._card.held
            if one.name not in self._claimed and holder_of(one) in self._holders
        ]
        left = [wish for wish in missing if not self._create(wish)]
        counts = Counter(wish.vgpus for wish in left)
        self.later += [vgpus_words(one, count) for one, count in counts.items()]
        self._lacking += [_Lacking(wish.vgpus.type, wish.function) for wish in left]
        self._make_anew(bool(unnamed))
        self._remove(unnamed)

    def _order(self, mdev: WantedMdev) -> tuple[bool, bool]:
        """Have those that are free to be anywhere come last, behind those that are active."""
        active = [one.active for one in self._card.snapshot.by_sysname(mdev.uuid)]
        return mdev.function is None, not any(active)

    def _explain_none(self) -> None:
        """Explain why the card can hold no vGPUs."""
        rows = self._card.types()
        if self._card.device.driver is None and not rows:
            self.pending.append("no driver is bound to it")
        elif not rows:
            self.pending.append("it offers no vGPUs: its driver has registered none")
        elif rows[0].reason == "vfs-on-other-driver":
            self.blocked.append(why_not(rows[0]))
        else:
            self.pending.append(why_not(rows[0]))

    # -- what is there already ----------------------------------------------------------------

    def _missing(self) -> Iterator[_Wish]:
        """Take the vGPUs that are there for those that are wanted; yield what is missing."""
        wishes = [wish for one in self._wanted.vgpus for wish in _wishes(one)]
        # One that may be anywhere must not take what another one needs.
        wishes.sort(key=lambda one: (one.function is None, one.placement is None))
        for wish in wishes:
            found = next((one for one in self._card.held if self._grants(one, wish)), None)
            if found is None:
                yield wish
            else:
                self._claimed.add(found.name)

    def _grants(self, vgpu: Device, wish: _Wish) -> bool:
        holder, held = holder_of(vgpu), type_of(vgpu)
        if vgpu.name in self._claimed or holder not in self._holders or held is None:
            return False
        if vgpu.state == "removing" or not self._is_of(wish.vgpus.type, held.id, held.name):
            return False
        if wish.function is not None and self._numbers.get(wish.function) != holder:
            return False
        if wish.function is None and holder in self._reserved and holder != self._card.name:
            return False
        profile = vgpu.capability(Vgpu)
        at = None if profile is None else profile.placement_id
        return wish.placement is None or at == str(wish.placement)

    def _is_of(self, wanted: str, type_id: str, name: str | None) -> bool:
        """Return whether a vGPU is of a type; False if its name would say so, and is unknown."""
        return type_matches(wanted, type_id, name or self._names.get(type_id))

    def _is_nameless(self, vgpu: Device) -> bool:
        """Return whether it cannot be told if a vGPU is wanted: its type has no name now.

        On a full card no function with vendor VFIO lists any type; the name of an mdev's type may
        be unreadable.
        """
        held = type_of(vgpu)
        if held is None or held.name is not None or held.id in self._names:
            return False
        ids = {one.id for function in self._card.holders.values() for one in function.offers}
        return any(not one.type.isdecimal() and one.type not in ids for one in self._wanted.vgpus)

    # -- what is missing ------------------------------------------------------------------------

    def _create(self, wish: _Wish) -> bool:
        """Have a vGPU created; return whether there is a place for it."""
        place = self._place(wish.vgpus.type, wish.function)
        if place is None:
            return False
        function, offer = place
        last = self.differences[-1] if self.differences else None
        if (
            isinstance(last, CreateVgpus)
            and (last.function, last.type, last.uuid) == (function, offer.id, None)
            and wish.placement is None
        ):
            self.differences[-1] = CreateVgpus(function, offer.id, offer.name, last.count + 1)
        else:
            self.differences.append(
                CreateVgpus(function, offer.id, offer.name, 1, placement=wish.placement)
            )
        return True

    def _place(self, wanted: str, number: int | None) -> tuple[str, Offer] | None:
        """Return the function on which one more vGPU is made; None if there is no room for it."""
        row = self._row(wanted)
        if row is None:
            return None
        if number is not None and self._numbers.get(number) not in self._holders:
            self.blocked.append(f"it has no virtual function {number} that can hold a vGPU")
            return None
        key = row.type or wanted
        left = self._room.setdefault(key, _PLENTY if row.available is None else row.available)
        if left > 0:
            for name, function in self._holders.items():
                if not self._may_take(name, number):
                    continue
                offers = matching_offers(function, wanted)
                if offers and self._free(function, offers[0]) > self._planned[name]:
                    self._planned[name] += 1
                    self._room[key] = left - 1
                    return name, offers[0]
        self._short = True
        if not self._wanted.remove_unnamed:
            reason = why_not(row) if row.reason is not None else "no free function has room"
            self.blocked.append(f"there is no room for {wanted}: {reason}")
        return None

    def _may_take(self, name: str, number: int | None) -> bool:
        if number is not None:
            return self._numbers.get(number) == name
        return name not in self._reserved or name == self._card.name

    def _free(self, function: VgpuFunction, offer: Offer) -> int:
        """Return how many vGPUs a function may take; a virtual one whose count is unknown: one."""
        if offer.available is not None:
            return offer.available
        if function.device == self._card.name and function.framework == "mdev":
            return _PLENTY
        return int(not function.untyped and not any(one.active for one in function.offers))

    def _row(self, wanted: str) -> CardType | None:
        """Return the room of the card for a type; None, with the reason, if it has no such type."""
        row = self._card.row(wanted)
        if row is None:
            near = nearest_types(self._card.holders.values(), wanted)
            self.blocked.append(
                f"it offers no type {wanted}{'; similar: ' if near else ''}{abbreviated(near)}"
            )
        return row

    # -- mdevs with a UUID ------------------------------------------------------------------------

    def _mdev(self, wanted: WantedMdev) -> None:
        known = [
            (device, mdev)
            for device in self._card.snapshot.by_sysname(wanted.uuid)
            if (mdev := device.capability(MdevChild)) is not None
        ]
        active = next((one for one in known if one[0].active), None)
        if active is not None:  # whatever comes of it, it is named
            self._claimed.add(active[0].name)
            if wanted.active and self._is_elsewhere(*active):
                return
        parent = self._parent(wanted, known)
        if parent is None:
            return
        offers = matching_offers(self._holders[parent], wanted.type)
        if not offers:
            if self._row(wanted.type) is not None:
                self.blocked.append(f"{parent} does not offer {wanted.type}")
            return
        offer = offers[0]
        defined = next((one for one in known if one[1].parent == parent and one[1].defined), None)
        if wanted.define:
            self._definition(wanted, parent, offer, defined)
        if active is None:
            if wanted.active:
                self._start(wanted, parent, offer)
            return
        held = type_of(active[0])
        if not wanted.active:
            return
        if active[0].state == "removing":
            self.pending.append(f"the mdev {wanted.uuid} is being removed")
        elif held is None:
            self.blocked.append(f"the type of the mdev {wanted.uuid} is not known")
        elif active[1].parent != parent or held.id != offer.id:
            if not wanted.define or defined is None or defined[1].definition is not None:
                self._anew.append(
                    _Anew(wanted.uuid, active[0], wanted.type, wanted.function, parent, offer)
                )
        elif (
            wanted.attributes is not None
            and offer.device_api == _VFIO_AP
            and _matrix(wanted.attributes) != _matrix(active[1].attributes)
        ):
            self._modify(wanted, active[0], parent, offer, live=True)

    def _is_elsewhere(self, device: Device, mdev: MdevChild) -> bool:
        """Return whether an mdev runs on what the entry does not name, where nothing is changed."""
        if device.state == "removing" or mdev.parent in self._holders:
            return False
        self.blocked.append(
            f"the mdev {mdev.uuid} runs on {mdev.parent or 'another parent'}, where this entry"
            " changes nothing; remove it there first"
        )
        return True

    def _parent(self, wanted: WantedMdev, known: list[tuple[Device, MdevChild]]) -> str | None:
        """Return the function on which an mdev is, or is to be; None, with the reason, if none."""
        if wanted.function is not None:
            name = self._numbers.get(wanted.function)
            if name is None or name not in self._holders:
                self.blocked.append(
                    f"it has no virtual function {wanted.function} that can hold a vGPU"
                )
                return None
            return name
        there = [
            (device, mdev.parent)
            for device, mdev in sorted(known, key=lambda one: not one[0].active)
            if mdev.parent is not None and mdev.parent in self._holders
        ]
        for device, name in there:
            if device.active or not (wanted.active and self._is_taken(name)):
                self._reserved.add(name)
                return name
        if self._card.name in self._holders:
            return self._card.name
        place = self._place(wanted.type, None)
        if place is None and there:
            return there[0][1]
        if place is None:
            self.later.append(mdev_words(wanted))
            if wanted.active:
                self._lacking.append(_Lacking(wanted.type, wanted.function))
            return None
        # Its room is counted when it is started; until then the function is kept for it.
        self._planned[place[0]] -= 1
        self._room[place[1].id] += 1
        self._reserved.add(place[0])
        return place[0]

    def _is_taken(self, name: str) -> bool:
        """Return whether a virtual function holds another vGPU, or is to hold one."""
        held = self._holders[name]
        active = bool(held.untyped) or any(one.active for one in held.offers)
        return name != self._card.name and (active or name in self._reserved)

    def _definition(
        self,
        wanted: WantedMdev,
        parent: str,
        offer: Offer,
        defined: tuple[Device, MdevChild] | None,
    ) -> None:
        if defined is None:
            self.differences.append(
                DefineMdev(
                    parent=parent,
                    uuid=wanted.uuid,
                    type=offer.id,
                    autostart=bool(wanted.autostart),
                    attributes=wanted.attributes or (),
                )
            )
            return
        definition = defined[1].definition
        if definition is None:
            self.blocked.append(f"the definition of {wanted.uuid} on {parent} cannot be read")
        elif not _is_as_wanted(definition, wanted, offer):
            self._modify(wanted, defined[0], parent, offer, definition=definition)

    def _modify(
        self,
        wanted: WantedMdev,
        device: Device,
        parent: str,
        offer: Offer,
        *,
        definition: Definition | None = None,
        live: bool = False,
    ) -> None:
        autostart, attributes = wanted.autostart, wanted.attributes
        if definition is not None:
            autostart = definition.autostart if autostart is None else autostart
            attributes = definition.attributes if attributes is None else attributes
        self.differences.append(
            ModifyMdev(
                name=device.name,
                parent=parent,
                uuid=wanted.uuid,
                type=offer.id,
                autostart=bool(autostart),
                attributes=attributes or (),
                definition=definition is not None,
                live=live,
            )
        )

    def _start(self, wanted: WantedMdev, parent: str, offer: Offer) -> None:
        row = self._row(wanted.type)
        key = offer.id if row is None else row.type or offer.id
        most = None if row is None else row.available
        left = self._room.setdefault(key, _PLENTY if most is None else most)
        if left <= 0 or self._free(self._holders[parent], offer) <= self._planned[parent]:
            self._short = True
            self._lacking.append(_Lacking(offer.id, wanted.function))
            self.later.append(f"start the mdev {wanted.uuid}")
            if not self._wanted.remove_unnamed:
                reason = "the function is taken" if row is None or not row.reason else why_not(row)
                self.blocked.append(f"there is no room for the mdev {wanted.uuid}: {reason}")
            return
        self._planned[parent] += 1
        self._room[key] = left - 1
        if wanted.define:
            self.differences.append(StartMdev(parent, wanted.uuid))
        else:
            self.differences.append(
                CreateVgpus(
                    *(parent, offer.id, offer.name, 1),
                    uuid=wanted.uuid,
                    attributes=wanted.attributes or (),
                )
            )

    # -- mdevs that are made anew -----------------------------------------------------------------

    def _make_anew(self, are_unnamed: bool) -> None:
        """Have the first mdev removed for which there is room for sure when it is made anew.

        One at a time, and only when nothing else is to be done before: what is created takes room,
        and without a definition it could not be started. Then the card is compared once more.
        """
        anew = []
        for one in self._anew:
            why = self._facts.why_kept([one.device])
            if why is None:
                anew.append(one)
            else:
                self.blocked.append(f"the mdev {one.uuid} cannot be made anew: {why}")
        together = all(self._fits_anew(one, anew) for one in anew)
        is_first = not self.differences
        for one in anew:
            if not together and not self._fits_anew(one, [one]):
                self._short = True
                if not (self._wanted.remove_unnamed and are_unnamed):
                    self.blocked.append(
                        f"the mdev {one.uuid} is left as it is: it is not certain that there is"
                        f" room for it as {one.wanted} on {one.parent} once it is removed; remove"
                        " it, or what takes the room"
                    )
            elif is_first:
                is_first = False
                self.differences.append(removal(one.device))
                self.later.append(f"start the mdev {one.uuid}")
            else:
                self.later.append(f"remove the mdev {one.uuid}, and start it anew")

    def _fits_anew(self, one: _Anew, leaving: Sequence[_Anew]) -> bool:
        """Return whether there is room for an mdev for sure, once it and others are removed."""
        gone = {each.device.name for each in leaving}
        stay = [each for each in self._card.held if each.name not in gone]
        if one.parent != self._card.name and not self._has_function(one):
            return False
        held = type_of(one.device)
        if held is not None and held.id == one.offer.id and not self._lacking:
            return True  # it takes no more room than it leaves
        # What is missing would take the room, or the function, that it leaves.
        coming = [*(_Lacking(each.offer.id, each.function) for each in leaving), *self._lacking]
        if any(each.type not in (one.offer.id, one.wanted) for each in coming):
            return False
        if one.parent != self._card.name:
            taken = {self._card.name, *self._named, *map(holder_of, stay)}
            free = {name for name, held in self._holders.items() if not held.untyped} - taken
            if len(free) < len([each for each in coming if each.function is None]):
                return False
        row = self._card.row(one.wanted)
        if row is not None and row.sure >= len(coming):
            return True
        # Beside other types there may be none of this one, whatever room there is.
        if any(of is None or of.id != one.offer.id for of in map(type_of, stay)):
            return False
        room = room_without(self._card, one.wanted, {each.uuid for each in leaving})
        return room is not None and room >= len(coming)

    def _has_function(self, one: _Anew) -> bool:
        """Return whether the virtual function is free for an mdev once that is removed."""
        if one.function is None and one.parent in self._named:
            return False
        others = [holder_of(each) for each in self._card.held if each is not one.device]
        return not self._holders[one.parent].untyped and one.parent not in others

    # -- what is not named ------------------------------------------------------------------------

    def _remove(self, unnamed: list[Device]) -> None:
        if not self._wanted.remove_unnamed:
            return
        removed = 0
        for device in unnamed:
            if device.state == "removing":
                self.pending.append(f"{device.name} is being removed")
                continue
            if type_of(device) is None:
                self.blocked.append(f"{device.name} is not named, and its type is not known")
                continue
            if self._is_nameless(device):
                self.blocked.append(
                    f"whether {device.name} is named is not known: no function lists its type now;"
                    " write the ID of each type"
                )
                continue
            why = self._facts.why_kept([device])
            if why is not None:
                self.blocked.append(f"what is not named cannot be removed: {why}")
                continue
            self.differences.append(removal(device))
            removed += 1
        if self._short and not removed:
            self.blocked.append("there is no room for what is missing, and nothing to remove")


def _wishes(one: WantedVgpus) -> Iterator[_Wish]:
    for number in range(one.count):
        yield _Wish(
            one,
            one.functions[number] if one.functions else None,
            one.placement[number] if one.placement else None,
        )


def _is_as_wanted(definition: Definition, wanted: WantedMdev, offer: Offer) -> bool:
    return (
        definition.mdev_type == offer.id
        and wanted.autostart in (None, definition.autostart)
        and wanted.attributes in (None, definition.attributes)
    )


def _matrix(attributes: tuple[MdevAttribute, ...]) -> frozenset[tuple[str, int | str]]:
    """Return adapters and domains without their order, and by their numbers."""
    found: set[tuple[str, int | str]] = set()
    for one in attributes:
        try:
            found.add((one.name, int(one.value, 0)))
        except ValueError:
            found.add((one.name, one.value))
    return frozenset(found)
