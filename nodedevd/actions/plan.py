"""Plan: the steps of an action, and what the tree shows when they have worked.

Steps are data: they are shown to whoever asks for a dry run, and kept in the journal until the
action has ended. `control/steps` has what each of them does to a host.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from nodedevd.actions.ownership import Record
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.definitions import has_autostart, is_defined
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot

Action: TypeAlias = Literal[
    "create",
    "remove",
    "define",
    "undefine",
    "start",
    "stop",
    "modify",
    "set-autostart",
    "set-virtual-functions",
    "bind",
    "unbind",
]


class Write(msgspec.Struct, frozen=True, tag_field="step", tag="write"):
    """Write an attribute that keeps what is written to it, such as driver_override."""

    path: str
    """sysfs path"""
    value: str
    """what is written"""
    before: str | None
    """what is written to undo it; None: it cannot be undone"""
    of_new: bool = False
    """whether an earlier step makes the device that has it: to undo that undoes this, too"""

    def __str__(self) -> str:
        return f"write {self.value!r} to {self.path}"


class CreateMdev(msgspec.Struct, frozen=True, tag_field="step", tag="create-mdev"):
    """Create an mdev; to undo it is to remove the mdev."""

    parent: str
    """sysfs path of the parent"""
    type: str
    """id of the type"""
    uuid: str

    def __str__(self) -> str:
        return f"create the mdev {self.uuid} of type {self.type} on {self.parent}"


class RemoveMdev(msgspec.Struct, frozen=True, tag_field="step", tag="remove-mdev"):
    """Remove an mdev; to undo it is to create the mdev again, of the same type."""

    parent: str
    """sysfs path of the parent"""
    type: str | None
    """id of the type; None if it is unknown, and then this cannot be undone"""
    uuid: str

    def __str__(self) -> str:
        return f"remove the mdev {self.uuid} of {self.parent}"


class SetProfile(msgspec.Struct, frozen=True, tag_field="step", tag="set-profile"):
    """Set the vGPU profile of a function with vendor VFIO; None takes it away."""

    function: str
    """sysfs path"""
    profile: str | None = msgspec.field(name="type")
    """id of the type, a decimal number"""
    before: str | None
    """the profile that is set until then"""

    def __str__(self) -> str:
        if self.profile is None:
            return f"take the profile {self.before} away from {self.function}"
        return f"set the profile {self.profile} on {self.function}"


class SetVfs(msgspec.Struct, frozen=True, tag_field="step", tag="set-vfs"):
    """Set the number of virtual functions, `sriov_numvfs`: to 0, or from 0, as the kernel wants."""

    card: str
    """sysfs path of the physical function"""
    number: int
    before: int

    def __str__(self) -> str:
        return f"write {self.number} to {self.card}/sriov_numvfs"


class SriovManage(msgspec.Struct, frozen=True, tag_field="step", tag="sriov-manage"):
    """Have NVIDIA's sriov-manage enable or disable all virtual functions of a card."""

    card: str
    """sysfs path of the physical function"""
    program: str
    """path of sriov-manage"""
    enable: bool
    had_some: bool = False
    """whether some functions were enabled, and not all"""

    def __str__(self) -> str:
        option, address = "-e" if self.enable else "-d", self.card.rpartition("/")[2]
        return f"run {self.program} {option} {address}"


class OverrideDriver(msgspec.Struct, frozen=True, tag_field="step", tag="override-driver"):
    """Set the driver that a device is reserved for, `driver_override`; None is any that matches."""

    device: str
    """sysfs path"""
    driver: str | None
    before: str | None

    def __str__(self) -> str:
        if self.driver is None:
            return f"clear {self.device}/driver_override"
        return f"write {self.driver!r} to {self.device}/driver_override"


class BindDriver(msgspec.Struct, frozen=True, tag_field="step", tag="bind-driver"):
    """Bind a device without a driver to this one; None is any that matches, or none."""

    device: str
    """sysfs path"""
    bus: str
    driver: str | None
    not_driver: str | None = None
    """the one that it must not have again"""
    found: str | None = None
    """the one of those that match that has taken it; only that is taken away to undo it"""

    def __str__(self) -> str:
        if self.driver is None:
            return f"have {self.device} probed by the drivers that match it"
        return f"bind {self.device} to {self.driver}"


class UnbindDriver(msgspec.Struct, frozen=True, tag_field="step", tag="unbind-driver"):
    """Take a device away from its driver; to undo it is to bind it again."""

    device: str
    """sysfs path"""
    bus: str
    driver: str
    override: str | None
    """the driver_override that it had with this driver"""

    def __str__(self) -> str:
        return f"unbind {self.device} from {self.driver}"


class WriteDefinition(msgspec.Struct, frozen=True, tag_field="step", tag="write-definition"):
    """Write, replace or remove one of mdevctl's definitions, at once and whole."""

    parent: str
    """kernel name of the parent"""
    uuid: str
    text: str | None
    """what the file has then; None removes it"""
    before: str | None
    """what it has until then; None: there is none"""

    def __str__(self) -> str:
        verb = "remove" if self.text is None else "write" if self.before is None else "replace"
        return f"{verb} the definition of {self.uuid} on {self.parent}"


CalloutEvent: TypeAlias = Literal["pre", "live", "post", "notify"]
CalloutAction: TypeAlias = Literal["define", "undefine", "start", "stop", "modify"]


class RunCallouts(msgspec.Struct, frozen=True, tag_field="step", tag="run-callouts"):
    """Run mdevctl's callouts for one event; one for the event `pre` may veto.

    `live` has them change the mdev that runs. To undo `pre` is to tell them that the action failed.
    """

    event: CalloutEvent
    action: CalloutAction
    parent: str
    """kernel name of the parent"""
    uuid: str
    type: str
    definition: str
    """one line of JSON, their standard input"""

    def __str__(self) -> str:
        return f"run mdevctl's callouts: {self.event} {self.action} of {self.uuid}"


Step: TypeAlias = (
    Write
    | CreateMdev
    | RemoveMdev
    | SetProfile
    | SetVfs
    | SriovManage
    | OverrideDriver
    | BindDriver
    | UnbindDriver
    | WriteDefinition
    | RunCallouts
)


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What the tree has to show of one device; None is not looked at.

    A device is given by its sysfs path, or, if it may have none, by the uuid of an mdev and the
    kernel name of its parent.
    """

    path: str | None = None
    uuid: str | None = None
    parent: str | None = None
    active: bool | None = None
    """whether it exists, complete"""
    type: str | None = None
    """id of the type of an mdev, or of the profile of a function"""
    profile: bool | None = None
    """whether a profile is set on the function"""
    driver: str | None = None
    """name of the driver; the empty text is none"""
    not_driver: str | None = None
    """name of a driver that the device no longer has"""
    functions: int | None = None
    """number of virtual functions, all of which are in the tree"""
    defined: bool | None = None
    autostart: bool | None = None

    def device(self, snapshot: Snapshot) -> Device | None:
        """Return the device, None if there is none."""
        if self.path is not None:
            return snapshot.at(self.path)
        for device in snapshot.by_sysname(self.uuid or ""):
            mdev = device.capability(MdevChild)
            if mdev is not None and self.parent in (None, mdev.parent_addr):
                return device
        return None

    def met(self, snapshot: Snapshot) -> bool:
        """Return whether the tree shows it."""
        device = self.device(snapshot)
        if device is None:
            return not (self.active or self.defined or self.autostart) and not any(
                (self.type, self.profile, self.driver, self.functions)
            )
        mdev, vgpu = device.capability(MdevChild), device.capability(Vgpu)
        pci = device.capability(Pci)
        shown: dict[str, object] = {
            "active": device.active and (mdev is None or mdev.state == "complete"),
            "driver": device.driver or "",
            "defined": is_defined(device),
            "autostart": has_autostart(device),
        }
        if mdev is not None:
            shown["type"] = mdev.mdev_type and mdev.mdev_type.id
        if vgpu is not None:
            shown["type"] = vgpu.current and vgpu.current.id
            shown["profile"] = vgpu.current is not None
        if pci is not None:
            shown["functions"] = _functions(snapshot, device, pci)
        if self.not_driver is not None and shown["driver"] == self.not_driver:
            return False
        wanted = msgspec.structs.asdict(self)
        return all(
            value is None or name not in shown or shown[name] == value
            for name, value in wanted.items()
        )


def _functions(snapshot: Snapshot, device: Device, pci: Pci) -> int | None:
    """Return the number of virtual functions; None while the tree has more of them, or fewer.

    The kernel places them beside their physical function, whatever their bus.
    """
    enabled = () if pci.virtual_functions is None else pci.virtual_functions.addresses
    above = (device.path or "").rpartition("/")[0]
    beside = [one.capability(Pci) for one in map(snapshot.at, snapshot.below(above)) if one]
    found = [one for one in beside if one is not None and one.physical_function == device.sysname]
    return len(enabled) if len(found) == len(enabled) else None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What an action does. Without steps, all is so already, and that is success."""

    action: Action
    cards: tuple[str, ...]
    """names of the cards that nobody else may change meanwhile, sorted; of `vgpus.card_of`"""
    steps: tuple[Step, ...]
    expected: tuple[Expected, ...]
    """what the tree shows afterwards; the devices of it are in the answer"""
    records: tuple[Record, ...] = ()
    """who owns what is made"""
    forgotten: tuple[str, ...] = ()
    """subjects of records that end with the action"""
    generation: int | None = None
    """of what existed already: the generation at which it was made; None: that of the answer"""
    forced: bool = False
    """whether devices are changed although they are open; what it undoes is never forced"""
    notes: tuple[str, ...] = ()
    """sentences for people: what the plan could not make sure of"""
