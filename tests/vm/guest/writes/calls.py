"""The clients of libvirt that ask a daemon: virsh and libvirt-python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import libvirt

from tests.vm.guest.writes.records import Answer, Call
from tests.vm.guest.writes.virsh import Virsh

NO_COMMAND = "unknown command"
FLAGS = {"--validate": 1, "--live": 1, "--config": 2}
ACTIVE, INACTIVE, MDEVS = 1 << 31, 1 << 30, 1 << 14
FILTERS = {"--all": ACTIVE, "--cap": MDEVS, "--persistent": 1 << 28, "--transient": 1 << 29}
"""Flags of a list that has mdevs alone; the last two came with libvirt 10.1."""


class Client(Protocol):
    """Asks a daemon."""

    name: str

    def ask(self, call: Call) -> Answer:
        """Return what comes of a call."""


def _list(connection: Any, call: Call) -> str:
    inactive = {"--inactive", "--all"} & {*call.options}
    flags = sum(FILTERS.get(option, 0) for option in call.options)
    found = connection.listAllDevices(flags | (INACTIVE if inactive else ACTIVE))
    return "\n".join(sorted(one.name() for one in found))


def _info(device: Any, call: Call) -> str:
    facts = (device.parent(), device.isActive(), device.isPersistent(), device.autostart())
    return " ".join(map(str, facts))


def _detach(device: Any, call: Call) -> str:
    return str(device.detachFlags("vfio", 0) if "--driver" in call.options else device.dettach())


def _flags(call: Call) -> int:
    return sum(FLAGS.get(option, 0) for option in call.options)


DEVICE_CALLS: Mapping[str, Callable[[Any, Call], Any]] = {
    "destroy": lambda device, call: device.destroy(),
    "start": lambda device, call: device.create(0),
    "undefine": lambda device, call: device.undefine(0),
    "autostart": lambda device, call: device.setAutostart(int("--disable" not in call.options)),
    "update": lambda device, call: device.update(call.document, _flags(call)),
    "dumpxml": lambda device, call: device.XMLDesc(int("--inactive" in call.options)),
    "info": _info,
    "detach": _detach,
    "reattach": lambda device, call: device.reAttach(),
    "reset": lambda device, call: device.reset(),
}


class Binding:
    """libvirt-python, whose answers are results and exceptions; one connection of each kind."""

    name = "libvirt-python"

    def __init__(self, uri: str) -> None:
        libvirt.registerErrorHandler(lambda *_: None, None)
        self._connections = {False: libvirt.open(uri), True: libvirt.openReadOnly(uri)}

    def ask(self, call: Call) -> Answer:
        """Call the library; an error is its code, domain, level, numbers and text."""
        connection = self._connections[call.read_only]
        if call.verb == "update" and not hasattr(libvirt.virNodeDevice, "update"):
            return Answer(1, "", NO_COMMAND)
        try:
            return Answer(0, self._result(connection, call), "")
        except libvirt.libvirtError as error:
            numbers = (
                *(error.get_error_code(), error.get_error_domain(), error.get_error_level()),
                *(error.get_int1(), error.get_int2()),
            )
            return Answer(1, "", f"{' '.join(map(str, numbers))} {error.get_error_message()}")

    def _result(self, connection: Any, call: Call) -> str:
        if call.verb == "list":
            return _list(connection, call)
        if call.verb in ("create", "define"):
            method = {"create": "nodeDeviceCreateXML", "define": "nodeDeviceDefineXML"}[call.verb]
            return str(getattr(connection, method)(call.document, _flags(call)).name())
        device = connection.nodeDeviceLookupByName(call.device)
        return str(DEVICE_CALLS[call.verb](device, call))


CLIENTS: Mapping[str, Callable[[str], Client]] = {"libvirt-python": Binding, "virsh": Virsh}
