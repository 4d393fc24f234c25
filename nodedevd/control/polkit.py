"""polkit: asks the system whether a process may do something, by libvirt's permission names.

Asks   org.freedesktop.PolicyKit1.Authority.CheckAuthorization on the system bus, without a dialogue
ABI    https://polkit.pages.freedesktop.org/polkit/eggdbus-interface-org.freedesktop.PolicyKit1.Authority.html

libvirt's packages install the actions. An action that polkit does not know, a missing library or
bus, and no answer in time are all refusals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from nodedevd.control.asker import Asker
from nodedevd.errors import NotAllowed

Permission: TypeAlias = Literal["read", "write", "start", "stop", "save", "delete", "detach"]
"""The last part of org.libvirt.api.node-device.<permission>."""

PERMISSIONS: Final[Mapping[str, tuple[Permission, ...]]] = {
    "GetStatus": ("read",),
    "List": ("read",),
    "Create": ("write", "start"),
    "Remove": ("stop",),
    "Define": ("write", "save"),
    "Undefine": ("delete",),
    "Start": ("start",),
    "Stop": ("stop",),
    "Modify": ("write", "save"),
    "SetAutostart": ("write",),
    "SetVirtualFunctions": ("write",),
    "Bind": ("detach",),
    "Unbind": ("detach",),
    "ApplyLayout": ("write", "start", "stop", "save", "detach"),
}
"""What libvirt asks for in its calls of the same effect; a method needs all of them."""

ANSWER_SECONDS: Final = 10.0
_PREFIX: Final = "org.libvirt.api.node-device"
_NO_FLAGS: Final = 0  # AllowUserInteraction is 1: a service must not wait for a password


def check(method: str, asker: Asker) -> None:
    """Return if polkit allows a process to call a method. Blocking. Raises NotAllowed."""
    if asker.started is None:
        raise NotAllowed(method, f"the process {asker.pid} has ended: polkit cannot look at it")
    try:
        from jeepney import DBusAddress, MessageType, new_method_call
        from jeepney.io.blocking import open_dbus_connection
    except ImportError as error:
        raise NotAllowed(
            method,
            "control.toml asks for polkit, and Python's package jeepney is not installed: install"
            " it with pip beside nodedevd, or Debian's package python3-jeepney",
        ) from error
    authority = DBusAddress(
        "/org/freedesktop/PolicyKit1/Authority",
        bus_name="org.freedesktop.PolicyKit1",
        interface="org.freedesktop.PolicyKit1.Authority",
    )
    subject = (
        "unix-process",
        {
            "pid": ("u", asker.pid),
            "start-time": ("t", asker.started),
            "uid": ("i", asker.uid),
        },
    )
    try:
        with open_dbus_connection("SYSTEM") as bus:
            for permission in PERMISSIONS[method]:
                action = f"{_PREFIX}.{permission}"
                details = {"connect_driver": "nodedev", "method": method}
                call = new_method_call(
                    authority,
                    "CheckAuthorization",
                    "(sa{sv})sa{ss}us",
                    (subject, action, details, _NO_FLAGS, ""),
                )
                reply = bus.send_and_get_reply(call, timeout=ANSWER_SECONDS)
                if reply.header.message_type is MessageType.error:
                    raise NotAllowed(method, f"polkit does not answer: {_text(reply.body)}")
                if reply.body[0][0] is not True:
                    raise NotAllowed(method, f"polkit refuses {action}")
    except NotAllowed:
        raise
    except Exception as error:  # Whatever goes wrong between here and polkit is no permission.
        raise NotAllowed(
            method, f"polkit cannot be asked: {error or type(error).__name__}"
        ) from error


def _text(body: tuple[object, ...]) -> str:
    return str(body[0]) if body else "an error without a text"
