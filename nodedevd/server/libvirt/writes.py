"""Writes: libvirt's procedures that change node devices, done by the control service.

This daemon changes nothing itself. It asks the control service in the name of the client, whose
socket it passes along. The client is authorised before anything of its XML is parsed, and it is
answered when the tree that it reads shows the change.

Source: node_device_driver.c of libvirt 11.3, for the checks and their order.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol, TypeAlias

from msgspec.structs import replace

from nodedevd.actions.answers import Outcome
from nodedevd.actions.requests import (
    Attribute,
    Create,
    Define,
    Modify,
    Remove,
    Request,
    SetAutostart,
    Start,
    Stop,
    Undefine,
)
from nodedevd.errors import (
    Conflict,
    InvalidParameter,
    MadeByOther,
    NodedevError,
    NoSuchDevice,
    OwnedByOther,
)
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.shared.mdevctl import Definition, MdevAttribute
from nodedevd.model.device import Device
from nodedevd.server.conversation import ConnectedPeer
from nodedevd.server.libvirt import protocol as remote
from nodedevd.server.libvirt import write_errors as errors
from nodedevd.server.libvirt.devices import NodeDevices, is_persistent
from nodedevd.server.libvirt.mdev_document import MdevDocument, read_mdev
from nodedevd.server.libvirt.protocol import Procedure
from nodedevd.server.libvirt.waiting import Places, in_turn, settled
from nodedevd.server.libvirt.write_errors import QUOTED, Attempt
from nodedevd.steps import finish

VALIDATE: Final = 1
"""VIR_NODE_DEVICE_CREATE_XML_VALIDATE, VIR_NODE_DEVICE_DEFINE_XML_VALIDATE"""
LIVE: Final = 1
"""VIR_NODE_DEVICE_UPDATE_AFFECT_LIVE"""
CONFIG: Final = 2
"""VIR_NODE_DEVICE_UPDATE_AFFECT_CONFIG"""

_ADDRESSED: Final = frozenset({"pci", "css", "matrix", "ccwgroup"})
"""The buses whose devices have an address for mdevctl, nodeDeviceFindAddressByName."""


class Changer(Protocol):
    """Asks the control service for changes, in the name of a client."""

    async def authorise(self, method: str) -> None:
        """Return if the client may call a method. Raises NodedevError."""

    async def act(self, request: Request) -> Outcome:
        """Change the host. Raises NodedevError."""


SpeakFor: TypeAlias = Callable[[socket.socket], AbstractAsyncContextManager[Changer]]
"""Returns a connection to the control service that speaks for the client of a socket."""


class Writes:
    """Changes of node devices for all clients."""

    def __init__(self, devices: NodeDevices, speak_for: SpeakFor, places: Places) -> None:
        self._devices = devices
        self._store = devices.store
        self._speak_for = speak_for
        self._places = places
        self._answers: dict[Procedure[Any, Any], Callable[[ConnectedPeer, Any], Awaitable[Any]]] = {
            remote.CREATE_XML: self._create,
            remote.DEFINE_XML: self._define,
            remote.CREATE: self._start,
            remote.DESTROY: self._destroy,
            remote.UNDEFINE: self._undefine,
            remote.SET_AUTOSTART: self._set_autostart,
            remote.UPDATE: self._update,
        }

    async def answer(
        self, procedure: Procedure[Any, Any], client: ConnectedPeer, arguments: Any
    ) -> Any:
        """Return the result of one of `protocol.WRITES`. Raises RpcError, NoSuchDevice.

        Args:
            procedure: The procedure.
            client: The client, for whom it is done.
            arguments: The arguments of the call.
        """
        return await self._answers[procedure](client, arguments)

    # -- with a document ----------------------------------------------------------------

    async def _create(self, client: ConnectedPeer, call: remote.XmlAndFlags) -> str:
        _check_flags(call.flags, VALIDATE, "nodeDeviceCreateXML")
        failed = "Unable to start mediated device"
        async with self._speaking(client, "Create", Attempt(failed=failed)) as control:
            wanted, parent = self._document(call.xml, validate=bool(call.flags & VALIDATE))
            attempt = _attempt(failed, wanted, parent)
            offers = parent.capability(MdevParent)
            if offers is None:
                raise errors.said_by_mdevctl(failed, errors.no_parent(attempt.parent_addr))
            _check_type(attempt, offers)
            request = Create(
                type=wanted.type_id,
                names=[parent.name],
                uuid=wanted.uuid,
                attributes=_attributes(attempt),
            )
            try:
                outcome = await in_turn(lambda: control.act(request))
            except (Conflict, MadeByOther, OwnedByOther):
                raise self._exists(attempt, wanted.uuid) from None
            except NodedevError as error:
                raise errors.refusal(error, attempt) from error
        if not outcome.steps:
            raise self._exists(attempt, wanted.uuid)
        return await self._made(outcome, lambda _, mdev: mdev.state == "complete")

    async def _define(self, client: ConnectedPeer, call: remote.XmlAndFlags) -> str:
        _check_flags(call.flags, VALIDATE, "nodeDeviceDefineXML")
        failed = "Unable to define mediated device"
        async with self._speaking(client, "Define", Attempt(failed=failed)) as control:
            wanted, parent = self._document(call.xml, validate=bool(call.flags & VALIDATE))
            attempt = _attempt(failed, wanted, parent)
            offers = parent.capability(MdevParent)
            if offers is not None:
                _check_type(attempt, offers)
            request = Define(
                type=wanted.type_id,
                parent=parent.name,
                uuid=wanted.uuid,
                attributes=_attributes(attempt),
            )
            outcome = await _act(control, request, attempt)
        definition = _definition(wanted)
        return await self._made(outcome, lambda _, mdev: _is_defined_as(mdev, definition))

    async def _update(self, client: ConnectedPeer, call: remote.NewXml) -> None:
        _check_flags(call.flags, LIVE | CONFIG, "nodeDeviceUpdate")
        name, mdev, device = self._mdev(call.name)
        failed = "Unable to modify mediated device"
        attempt = Attempt(failed=failed, name=name, parent_addr=mdev.parent_addr)
        async with self._speaking(client, "Modify", attempt) as control:
            wanted, _ = self._document(call.xml, validate=True)
            live, config = _affected(call.flags, device)
            _check_same(name, mdev, wanted, live=live)
            attempt = replace(attempt, type_id=wanted.type_id, attributes=wanted.attributes)
            request = Modify(
                name=device.name,
                parent=mdev.parent_addr,
                type=wanted.type_id,
                attributes=_attributes(attempt),
                live=(live and config) or None,
                live_only=(live and not config) or None,
            )
            await _act(control, request, attempt)
        if config:
            definition = _definition(wanted)
            await self._until(mdev, lambda _, now: _is_defined_as(now, definition))

    def _document(self, xml: str, *, validate: bool) -> tuple[MdevDocument, Device]:
        """Return what a client's document says, and the parent. Raises RpcError."""
        wanted = read_mdev(xml, validate=validate)
        if wanted.parent is None:
            raise errors.unsupported("missing parent device")
        try:
            parent = self._find(wanted.parent)
        except NoSuchDevice as error:
            raise errors.unsupported(f"invalid parent device '{error.name[:QUOTED]}'") from None
        if parent.capability(MdevParent) is None and parent.subsystem not in _ADDRESSED:
            raise errors.no_address(wanted.parent)
        return wanted, parent

    # -- by name ------------------------------------------------------------------------

    async def _start(self, client: ConnectedPeer, call: remote.NameAndFlags) -> None:
        _check_flags(call.flags, 0, "nodeDeviceCreate")
        device = self._find(call.name)
        if device.active:
            raise errors.invalid_state("Device is already active")
        name, mdev, device = self._mdev(call.name)
        attempt = Attempt(
            failed="Unable to create mediated device",
            name=name,
            parent_addr=mdev.parent_addr,
            type_id="" if mdev.definition is None else mdev.definition.mdev_type,
            attributes=[(one.name, one.value) for one in mdev.attributes],
        )
        request = Start(name=device.name, parent=mdev.parent_addr)
        outcome = await self._ask(client, "Start", request, attempt)
        if not outcome.steps:
            raise errors.invalid_state("Device is already active")
        await self._until(mdev, lambda _, mdev: mdev.state == "complete")

    async def _destroy(self, client: ConnectedPeer, name: str) -> None:
        name, mdev, device = self._mdev(name)
        if not device.active:
            raise errors.invalid_state(f"Device '{name}' is not active")
        attempt = Attempt(
            failed=f"Unable to destroy '{name}'", name=name, parent_addr=mdev.parent_addr
        )
        request = Stop(name=device.name) if mdev.defined else Remove(name=device.name)
        outcome = await self._ask(client, type(request).__name__, request, attempt)
        if not outcome.steps:
            raise errors.invalid_state(f"Device '{name}' is not active")
        await self._until(mdev, lambda device, _: not device.active, gone=True)

    async def _undefine(self, client: ConnectedPeer, call: remote.NameAndFlags) -> None:
        _check_flags(call.flags, 0, "nodeDeviceUndefine")
        found = self._find(call.name)
        if not is_persistent(found):  # libvirt looks at this first
            raise errors.invalid_state(f"Node device '{self._devices.name(found)}' is not defined")
        name, mdev, device = self._mdev(call.name)
        attempt = Attempt(
            failed="Unable to undefine mediated device", name=name, parent_addr=mdev.parent_addr
        )
        request = Undefine(name=device.name, parent=mdev.parent_addr)
        await self._ask(client, "Undefine", request, attempt)
        await self._until(mdev, lambda _, mdev: not mdev.defined, gone=True)

    async def _set_autostart(self, client: ConnectedPeer, call: remote.Autostart) -> None:
        device, on = self._find(call.name), call.autostart != 0
        mdev = device.capability(MdevChild)
        if mdev is None:
            raise errors.unsupported_operation("Unsupported device type")
        if not is_persistent(device):
            raise errors.invalid_state("cannot set autostart for transient device")
        name = self._devices.name(device)
        attempt = Attempt(
            failed=f"Unable to set autostart on '{name}'", name=name, parent_addr=mdev.parent_addr
        )
        request = SetAutostart(name=device.name, parent=mdev.parent_addr, autostart=on)
        await self._ask(client, "SetAutostart", request, attempt)
        await self._until(mdev, lambda _, mdev: mdev.autostart is on)

    async def _ask(
        self, client: ConnectedPeer, method: str, request: Request, attempt: Attempt
    ) -> Outcome:
        """Ask for a change in the name of a client. Raises RpcError."""
        async with self._speaking(client, method, attempt) as control:
            return await in_turn(lambda: control.act(request))

    @asynccontextmanager
    async def _speaking(
        self, client: ConnectedPeer, method: str, attempt: Attempt
    ) -> AsyncIterator[Changer]:
        """Connect to the control service in the name of a client that may call a method.

        Raises RpcError, also for what the service raises meanwhile.
        """
        try:
            async with self._places.of(client.uid), self._speak_for(client.socket) as control:
                await control.authorise(method)
                yield control
        except NodedevError as error:
            raise errors.refusal(error, attempt) from error

    # -- devices ------------------------------------------------------------------------

    def _find(self, name: str) -> Device:
        """Return a device by any name. Raises NoSuchDevice."""
        device = self._devices.find(name)
        return device if device else finish(self._devices.find_by_libvirt_name(name))

    def _mdev(self, name: str) -> tuple[str, MdevChild, Device]:
        """Return libvirt's name of an mdev, the mdev and its device.

        Raises NoSuchDevice, RpcError for another device.
        """
        device = self._find(name)
        mdev = device.capability(MdevChild)
        if mdev is None:
            raise errors.unsupported("Unsupported device type")
        return self._devices.name(device), mdev, device

    def _exists(self, attempt: Attempt, uuid: str | None) -> Exception:
        """Return the error for a UUID that is active already."""
        why = "Device already exists"
        for device in self._store.snapshot.by_sysname(uuid or ""):
            mdev = device.capability(MdevChild)
            if mdev is not None and device.active:
                if mdev.parent_addr != attempt.parent_addr:
                    why = "Device exists under different parent"
                elif mdev.mdev_type is not None and mdev.mdev_type.id != attempt.type_id:
                    why = "Device exists with different type"
        return errors.said_by_mdevctl(attempt.failed, why)

    async def _made(self, outcome: Outcome, holds: Callable[[Device, MdevChild], bool]) -> str:
        """Return libvirt's name of the mdev of an outcome, when the tree shows it."""
        [device, *_] = outcome.devices
        mdev = device.capability(MdevChild)
        assert mdev is not None, "as asked for"
        await self._until(mdev, holds)
        return self._devices.name(device)

    async def _until(
        self, mdev: MdevChild, holds: Callable[[Device, MdevChild], bool], *, gone: bool = False
    ) -> None:
        """Wait until something holds of an mdev in the tree, with `gone` also if it has left."""

        def seen() -> bool:
            for device in self._store.snapshot.by_sysname(mdev.uuid):
                now = device.capability(MdevChild)
                if now is not None and now.parent_addr == mdev.parent_addr:
                    return holds(device, now)
            return gone

        await settled(self._store, seen)


async def _act(control: Changer, request: Request, attempt: Attempt) -> Outcome:
    try:
        return await in_turn(lambda: control.act(request))
    except NodedevError as error:
        raise errors.refusal(error, attempt) from error


def _attempt(failed: str, wanted: MdevDocument, parent: Device) -> Attempt:
    return Attempt(
        failed=failed,
        parent_addr=parent.sysname or "",
        type_id=wanted.type_id,
        attributes=wanted.attributes,
    )


def _attributes(attempt: Attempt) -> list[Attribute]:
    """Return attributes as they are in a request. Raises RpcError."""
    made = []
    for name, value in attempt.attributes:
        try:
            made.append(Attribute(name, value))
        except InvalidParameter:
            why = errors.bad_attribute(name)
            raise errors.said_by_mdevctl(attempt.failed, why) from None
    return made


def _definition(wanted: MdevDocument) -> Definition:
    """Return the definition that a document describes, which says nothing of autostart."""
    attributes = tuple(MdevAttribute(name, value) for name, value in wanted.attributes)
    return Definition(wanted.type_id, autostart=False, attributes=attributes)


def _is_defined_as(mdev: MdevChild, wanted: Definition) -> bool:
    found = mdev.definition
    return found is not None and (found.mdev_type, found.attributes) == (
        wanted.mdev_type,
        wanted.attributes,
    )


def _check_flags(flags: int, known: int, function: str) -> None:
    if flags & ~known:
        raise errors.unknown_flags(flags & ~known, function)


def _check_type(attempt: Attempt, offers: MdevParent) -> None:
    """Raise RpcError unless it is the id of a type; the control service also knows names."""
    if all(one.id != attempt.type_id for one in offers.types):
        why = errors.no_such_type(attempt.parent_addr, attempt.type_id)
        raise errors.said_by_mdevctl(attempt.failed, why)


def _affected(flags: int, device: Device) -> tuple[bool, bool]:
    """Return whether an update is of the mdev that runs, and of its definition. Raises RpcError.

    Without flags it is of what runs, if it does.
    """
    live, config = bool(flags & LIVE), bool(flags & CONFIG)
    if not live and not config:
        live, config = device.active, not device.active
    if live and not device.active:
        raise errors.invalid_state("node device is not active")
    if config and not is_persistent(device):
        raise errors.invalid_state("transient node devices do not have any persistent config")
    return live, config


def _check_same(name: str, mdev: MdevChild, wanted: MdevDocument, *, live: bool) -> None:
    """Raise RpcError if an update would make another device of it."""
    if wanted.uuid != mdev.uuid:
        raise errors.unsupported(  # without the second quote, in libvirt too
            f"Cannot update device '{name}, uuid mismatch (current uuid '{mdev.uuid}')"
        )
    current = None if mdev.mdev_type is None else mdev.mdev_type.id
    if live and wanted.type_id != current:
        raise errors.unsupported(
            f"Cannot update device '{name}', type mismatch (current type '{current}')"
        )
