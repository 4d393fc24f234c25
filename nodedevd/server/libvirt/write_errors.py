"""write_errors: errors of the control service as libvirt's clients know them.

Where libvirt passes on what mdevctl says, the text is mdevctl's. Programs test code and domain,
and people know the text.

Source: node_device_driver.c of libvirt, callouts and errors of mdevctl 1.4.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Final

import msgspec

from nodedevd.errors import (
    Conflict,
    DeviceInUse,
    MadeByOther,
    NoControl,
    NodedevError,
    NoRoom,
    NoSuchDevice,
    NoSuchType,
    NotAllowed,
    NotPossible,
    OwnedByOther,
    StepFailed,
)
from nodedevd.server.libvirt.protocol import ErrorCode, ErrorDomain, RpcError

QUOTED: Final = 256
"""characters of a client's text in an error message"""
_NO_ROOM: Final = (errno.errorcode[errno.ENOSPC], errno.errorcode[errno.EUSERS])


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What a client has asked for, as far as errors name it."""

    failed: str
    """what libvirt says could not be done"""
    name: str = "new device"
    """libvirt's name of the device"""
    parent_addr: str = ""
    """kernel name of the parent"""
    type_id: str = ""
    attributes: Sequence[tuple[str, str]] = ()
    """vendor attributes and their values"""


def refusal(error: NodedevError, attempt: Attempt) -> RpcError:
    """Return the error to reply when the control service could not do it, or would not."""
    match error:
        case NotAllowed():
            return denied(error.reason)
        case NoControl():
            return _error(ErrorCode.OPERATION_UNSUPPORTED, f"Operation not supported: {error}")
        case MadeByOther() | OwnedByOther():
            return _somebody_elses(error, attempt)
        case NoSuchDevice():
            return no_device(attempt.name)
        case DeviceInUse() if error.known:
            return failed(attempt.failed, "device in use")
        case _:
            return said_by_mdevctl(attempt.failed, _by_mdevctl(error, attempt))


def _by_mdevctl(error: NodedevError, attempt: Attempt) -> str:
    """Return an error in mdevctl's words, or in nodedevd's where mdevctl has none."""
    no_room = f"No available instances of {attempt.type_id} on {attempt.parent_addr}"
    match error:
        case NoRoom():
            return no_room
        case StepFailed() if error.errno in _NO_ROOM and error.step.startswith("create the mdev"):
            return no_room
        case StepFailed():
            return _by_attribute(error, attempt) or str(error)
        case NoSuchType() | NotPossible(reason="type"):
            return no_such_type(attempt.parent_addr, attempt.type_id)
        case NotPossible(reason="parent" | "registration" | "no-parent" | "no-types"):
            return no_parent(attempt.parent_addr)
        case NotPossible(reason="no-live-modify"):
            return (
                "Live modification is not supported for this device type. Changing the device"
                " configuration requires stopping and restarting the device."
            )
        case Conflict():
            return f"Device already exists: {error}"
        case _:
            return str(error)


def _by_attribute(error: StepFailed, attempt: Attempt) -> str | None:
    """Return the error of an attribute of the mdev that could not be written."""
    for name, value in attempt.attributes:
        if error.step.startswith(f"write {value!r} to ") and error.step.endswith(f"/{name}"):
            number = getattr(errno, error.errno, 0)
            if number == errno.ENOENT:
                return bad_attribute(name)
            cause = f"{os.strerror(number)} (os error {number})"
            return f"Failed to write {value} to attribute {name}\n\nCaused by:\n    {cause}"
    return None


def _somebody_elses(error: MadeByOther | OwnedByOther, attempt: Attempt) -> RpcError:
    whom = {
        "domain": "the hook of a domain",
        "layout": "the host's layout",
        "definition": "a start of its definition",
    }
    if isinstance(error, OwnedByOther):
        made = f"for {error.owner!r}" if error.owner else "without an owner"
    else:
        made = f"by {whom.get(error.origin, 'somebody else, not by nodedevd')}"
    return _error(
        ErrorCode.OPERATION_DENIED,
        f"operation forbidden: '{attempt.name}' was made {made}; to remove it in spite of that:"
        f" nodedevctl remove --force {attempt.name}",
    )


# -- libvirt's errors -----------------------------------------------------------------------------


def no_device(name: str) -> RpcError:
    """Return the error for a name without a device."""
    text = f"Node device not found: no node device with matching name '{name[:QUOTED]}'"
    return _error(ErrorCode.NO_NODE_DEVICE, text)


def invalid_state(detail: str) -> RpcError:
    """Return the error for a device that is not in the state for it."""
    text = f"Requested operation is not valid: {detail}"
    return _error(ErrorCode.OPERATION_INVALID, text)


def unsupported(detail: str) -> RpcError:
    """Return the error for what a document asks for, and no such device can be."""
    return _error(ErrorCode.CONFIG_UNSUPPORTED, f"unsupported configuration: {detail}")


def unsupported_operation(detail: str) -> RpcError:
    """Return the error for what cannot be done with such a device."""
    return _error(ErrorCode.OPERATION_UNSUPPORTED, f"Operation not supported: {detail}")


def unknown_flags(flags: int, function: str) -> RpcError:
    """Return the error for flags that a function of libvirt's driver does not know."""
    text = f"unsupported flags (0x{flags:x}) in function {function}"
    return RpcError(ErrorCode.INVALID_ARG, ErrorDomain.NODEDEV, text, function)


def no_address(name: str) -> RpcError:
    """Return the error for a parent that has no address for mdevctl."""
    return _error(
        ErrorCode.PARSE_FAILED,
        "failed to parse configuration file Unable to find address for parent device"
        f" '{name[:QUOTED]}'",
    )


def denied(reason: str) -> RpcError:
    """Return the error for a client that has no right to it."""
    return _error(ErrorCode.ACCESS_DENIED, f"access denied: {reason}")


def read_only(function: str) -> RpcError:
    """Return the error for a client that may only read."""
    text = f"operation forbidden: read only access prevents {function}"
    return _error(ErrorCode.OPERATION_DENIED, text)


def failed(what: str, why: str) -> RpcError:
    """Return the error for what could not be done."""
    return _error(ErrorCode.INTERNAL_ERROR, f"internal error: {what}: {why}")


def said_by_mdevctl(what: str, why: str) -> RpcError:
    """Return the same for what mdevctl says of it."""
    return failed(what, f"Error: {why}\n")


def no_parent(address: str) -> str:
    """Return what mdevctl says of a parent that is none."""
    return f"Unable to find parent device '{address}'"


def no_such_type(address: str, type_id: str) -> str:
    """Return what mdevctl says of a type that the parent does not have."""
    return f"Parent {address} does not support mdev type {type_id[:QUOTED]}"


def bad_attribute(name: str) -> str:
    """Return what mdevctl says of an attribute that the mdev does not have."""
    return f"Invalid attribute '{name[:QUOTED]}'"


def _error(code: ErrorCode, message: str) -> RpcError:
    return RpcError(code, ErrorDomain.NODEDEV, message)
