"""The errors that nodedevd raises on purpose: a stable code, named fields, one sentence.

An error class declares its fields once, as annotations. They are the arguments of its
constructor and, where a daemon replies with the error, the parameters of the Varlink reply,
from which a client builds the same error again; see `REPLIED`.

Any other exception is a defect: it is logged with its traceback, the reply is `InternalError`,
and only the call that met it fails.
"""

from __future__ import annotations

import errno
import os
from typing import ClassVar, Final, dataclass_transform

CONTROL_INTERFACE: Final = "org.nodedevd.Control"
"""The Varlink interface of the service that changes the host."""


@dataclass_transform(eq_default=False)
class NodedevError(Exception):
    """The base class of all deliberate errors.

    Attributes:
        code: a word for programs and documentation that never changes. It is not sent: a reply
            names the error by its class.
        interface: the Varlink interface that defines the error; None is that of the method.
        fields: the names of the fields, in the order of the constructor's arguments.
        reply_fields: those that are the parameters of an error reply.
    """

    code: ClassVar[str] = "internal-error"
    interface: ClassVar[str | None] = None
    fields: ClassVar[tuple[str, ...]] = ()
    reply_fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls.fields = (*cls.fields, *cls.__annotations__)
        cls.reply_fields = vars(cls).get("reply_fields", cls.fields)

    def __init__(self, *values: object, **named: object) -> None:
        vars(self).update(zip(self.fields, values, strict=False), **named)
        super().__init__(*[getattr(self, name) for name in self.fields] or values)


class NodeGone(NodedevError):
    """The sysfs directory of a device disappeared while it was read: the device was removed."""

    code = "node-gone"
    path: str

    def __str__(self) -> str:
        return f"{self.path} no longer exists"


class NodeLeaving(NodedevError):
    """The kernel is removing the device, by its answer, and the directory may still be there."""

    code = "node-leaving"
    path: str

    def __str__(self) -> str:
        return f"{self.path} is being removed"


class NoSuchDevice(NodedevError):
    """No device has this name, in any of the accepted forms; `nearest` are similar names."""

    code = "no-such-device"
    name: str
    nearest: tuple[str, ...] = ()

    def __str__(self) -> str:
        hint = f"; did you mean {', '.join(self.nearest)}?" if self.nearest else ""
        return f"no device named {self.name!r}{hint}"


class NoSuchType(NodedevError):
    """No device offers a type of this id or name; `nearest` are the most similar offered ones."""

    code = "no-such-type"
    type: str
    nearest: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.nearest:
            return f"no device offers the type {self.type!r} or any other; see `nodedevctl types`"
        return f"no device offers the type {self.type!r}; the nearest are {', '.join(self.nearest)}"


class NotInFormat(NodedevError):
    """The device exists, but the XML format does not show such devices."""

    code = "not-in-format"
    name: str
    format: str

    def __str__(self) -> str:
        return f"the format {self.format!r} does not show {self.name}; the default one does"


class NotAssignable(NodedevError):
    """The device exists, or will, but cannot be assigned to a guest as it is.

    `reason` is a word that never changes, see `hostdev.NotAssignableReason`; `detail` says what to
    do next.
    """

    code = "not-assignable"
    name: str
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.name} cannot be assigned to a guest: {self.detail}"


class DoesNotFit(NodedevError):
    """An option does not fit the device that is to be assigned to a guest."""

    code = "does-not-fit"
    name: str
    parameter: str
    detail: str

    def __str__(self) -> str:
        return f"{self.parameter} does not fit {self.name}: {self.detail}"


class InvalidParameter(NodedevError):
    """A parameter of a call has an unusable value."""

    code = "invalid-parameter"
    interface = "org.varlink.service"
    reply_fields = ("parameter",)
    parameter: str
    reason: str = ""
    """not in replies: org.varlink.service has no field for it"""

    def __str__(self) -> str:
        return f"invalid parameter {self.parameter!r}" + (f": {self.reason}" if self.reason else "")


class ExpectedMore(NodedevError):
    """The method sends several replies and has to be called with `more`."""

    code = "expected-more"
    interface = "org.varlink.service"

    def __str__(self) -> str:
        return "the method sends several replies: call it with 'more'"


class TooManyClients(NodedevError):
    """The daemon serves as many clients as it may, of one user or of all."""

    code = "too-many-clients"
    limit: int
    user: int | None = None
    """the uid whose limit it is; None if it is that of all users"""

    def __str__(self) -> str:
        whose = "" if self.user is None else f" of user {self.user}"
        return (
            f"the daemon serves {self.limit} clients{whose} already, which is the limit; "
            "try again when some have left"
        )


class BudgetExceeded(NodedevError):
    """The call needs more of the daemon's memory than the clients of a user, or of all, may hold.

    They hold replies that they have not read, half messages, names of watches, registrations.
    """

    code = "budget-exceeded"
    limit: int
    """bytes"""
    user: int | None = None
    """the uid whose limit it is; None if it is that of all users"""

    def __str__(self) -> str:
        whose = "all users" if self.user is None else f"user {self.user}"
        return (
            f"the clients of {whose} would hold more than {self.limit / 2**20:g} MiB of the "
            "daemon's memory; read replies, end watches, or close connections, then try again"
        )


# -- changes of a host, org.nodedevd.Control ------------------------------------------------


class NotAllowed(NodedevError):
    """The client may not ask for this."""

    code = "not-allowed"
    interface = CONTROL_INTERFACE
    action: str
    reason: str

    def __str__(self) -> str:
        return f"{self.action} is not allowed: {self.reason}"


class NotPossible(NodedevError):
    """The device cannot be changed in this way; `reason` is a word that never changes."""

    code = "not-possible"
    interface = CONTROL_INTERFACE
    name: str
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}"


class NoRoom(NodedevError):
    """No card that may be used has room for a vGPU of the type."""

    code = "no-room"
    interface = CONTROL_INTERFACE
    type: str
    detail: str

    def __str__(self) -> str:
        return f"no room for the type {self.type!r}: {self.detail}"


class Conflict(NodedevError):
    """Something else has the uuid, or the function."""

    code = "conflict"
    interface = CONTROL_INTERFACE
    name: str
    detail: str

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}"


class OwnedByOther(NodedevError):
    """The device was made for another owner."""

    code = "owned-by-other"
    interface = CONTROL_INTERFACE
    name: str
    owner: str

    def __str__(self) -> str:
        whose = f"belongs to {self.owner!r}" if self.owner else "was made without an owner"
        return f"{self.name} {whose}; give that owner, or use force"


class MadeByOther(NodedevError):
    """The device is of another origin: made by a layout, a definition, a domain, or by hand."""

    code = "made-by-other"
    interface = CONTROL_INTERFACE
    name: str
    origin: str

    def __str__(self) -> str:
        whom = {
            "client": "a client's call",
            "definition": "a start of its definition",
            "domain": "the hook of a domain",
            "layout": "the host's layout",
        }.get(self.origin, "somebody else, not by nodedevd")
        return f"{self.name} was made by {whom}; use force to change it in spite of that"


class Changed(NodedevError):
    """The device is another one than the client means."""

    code = "changed"
    interface = CONTROL_INTERFACE
    name: str
    detail: str

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}"


class DeviceInUse(NodedevError):
    """The device is in use, or it cannot be told whether it is."""

    code = "device-in-use"
    interface = CONTROL_INTERFACE
    name: str
    known: bool
    """False: it cannot be told"""
    detail: str

    def __str__(self) -> str:
        state = "is in use" if self.known else "may be in use"
        return f"{self.name} {state}: {self.detail}"


class CardBusy(NodedevError):
    """Another change of the card is in progress, or hangs in the driver."""

    code = "card-busy"
    interface = CONTROL_INTERFACE
    card: str
    detail: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.card} is being changed for {self.seconds:.0f} s: {self.detail}"


class Vetoed(NodedevError):
    """One of mdevctl's callouts has refused the action."""

    code = "vetoed"
    interface = CONTROL_INTERFACE
    script: str
    detail: str
    undone: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def __str__(self) -> str:
        return _with_rest(f"{self.script} refuses: {self.detail}", self.undone, self.left)


class StepFailed(NodedevError):
    """A step was refused by the kernel or a driver; `errno` is its name, such as EBUSY."""

    code = "step-failed"
    interface = CONTROL_INTERFACE
    step: str
    errno: str
    detail: str
    undone: tuple[str, ...] = ()
    """steps before it that were undone"""
    left: tuple[str, ...] = ()
    """steps before it that could not be undone, with why"""

    def __str__(self) -> str:
        return _with_rest(f"could not {self.step}: {self.detail}", self.undone, self.left)


class StillWriting(NodedevError):
    """A write hangs in a driver; it goes on, and `GetStatus` shows it."""

    code = "still-writing"
    interface = CONTROL_INTERFACE
    step: str
    seconds: float

    def __str__(self) -> str:
        return (
            f"the driver has not answered for {self.seconds:.0f} s: {self.step}; it goes on, "
            "and the card takes no other change until it ends"
        )


class NotConfirmed(NodedevError):
    """All steps worked, and the tree does not show what it should."""

    code = "not-confirmed"
    interface = CONTROL_INTERFACE
    action: str
    detail: str
    undone: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.action} is not confirmed by the tree: {self.detail}"
        return _with_rest(text, self.undone, self.left)


def _with_rest(text: str, undone: tuple[str, ...], left: tuple[str, ...]) -> str:
    if undone:
        text += f"; undone: {', '.join(undone)}"
    if left:
        text += f"; NOT undone: {', '.join(left)}"
    return text


REPLIED: Final = (
    NoSuchDevice,
    NoSuchType,
    NotInFormat,
    NotAssignable,
    DoesNotFit,
    InvalidParameter,
    ExpectedMore,
    TooManyClients,
    BudgetExceeded,
    NotAllowed,
    NotPossible,
    NoRoom,
    Conflict,
    OwnedByOther,
    MadeByOther,
    Changed,
    DeviceInUse,
    CardBusy,
    Vetoed,
    StepFailed,
    StillWriting,
    NotConfirmed,
)
"""Errors that a daemon replies with and a client raises again."""


class NotASysroot(NodedevError):
    """The sysroot is neither a directory that holds `sys/` nor an archive of one."""

    code = "not-a-sysroot"
    root: str

    def __str__(self) -> str:
        return (
            f"{self.root} is not a sysroot: it has no directory sys/; "
            "give a directory that holds one, or a file that `nodedevctl record` wrote"
        )


class NoDevices(NotASysroot):
    """The sysroot has a directory `sys/`, and no device in it."""

    code = "no-devices"

    def __str__(self) -> str:
        sys = f"{self.root.rstrip('/')}/sys"
        mount = "mount it: `mount -t sysfs sysfs /sys`" if sys == "/sys" else "give another one"
        return (
            f"{sys} has no devices, so it is no sysfs: {sys}/devices is missing or empty; {mount}"
        )


class BadArchive(NodedevError):
    """A file is not an archive of a host, or a damaged one."""

    code = "bad-archive"
    path: str
    line: int | None
    """counted from 1; None if it is the file as a whole"""
    reason: str

    def __str__(self) -> str:
        where = "" if self.line is None else f"line {self.line}: "
        return f"{self.path} is not a valid archive of a host: {where}{self.reason}"


class NotRecordable(NodedevError):
    """A recording cannot hold what a host has."""

    code = "not-recordable"
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path} cannot be recorded: {self.reason}"


class NotEmpty(NodedevError):
    """The directory to record into has something in it."""

    code = "not-empty"
    path: str

    def __str__(self) -> str:
        return f"{self.path} is not an empty directory; record into a new one"


class AlreadyExists(NodedevError):
    """The file to record into exists; a recording never overwrites."""

    code = "already-exists"
    path: str

    def __str__(self) -> str:
        return f"{self.path} already exists; record into a new file"


class UnsafePath(NodedevError):
    """Another user could lead what is written here elsewhere."""

    code = "unsafe-path"
    path: str
    reason: str

    def __str__(self) -> str:
        return f"cannot record into {self.path}: {self.reason}; record into another directory"


class NoDirectory(NodedevError):
    """The directory to write into does not exist; nodedevd does not create parents of a path."""

    code = "no-directory"
    path: str

    def __str__(self) -> str:
        return f"the directory {self.path} does not exist; create it, or choose another path"


class TooFewDescriptors(NodedevError):
    """The limit on open files leaves no descriptor for a client."""

    code = "too-few-descriptors"
    limit: int

    def __str__(self) -> str:
        return (
            f"the limit on open files, RLIMIT_NOFILE, is {self.limit}: too few to serve a client;"
            " raise the hard limit, in a unit by LimitNOFILE="
        )


class SocketInUse(NodedevError):
    """Another daemon serves the socket."""

    code = "socket-in-use"
    path: str

    def __str__(self) -> str:
        return (
            f"another daemon already serves {self.path}; stop it, or give this one "
            "a socket of its own with --socket"
        )


class BadDomain(NodedevError):
    """The domain that libvirt hands to the hook is none, or its metadata is not as it should be."""

    code = "bad-domain"
    reason: str

    def __str__(self) -> str:
        return f"the XML of the domain cannot be used: {self.reason}"


class NoDaemon(NodedevError):
    """No daemon answers on any of the sockets that were tried."""

    code = "no-daemon"
    tried: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return (
            f"no nodedevd answers on {' or '.join(self.tried)} ({self.reason}); "
            "start one (systemctl start nodedevd.socket, or run nodedevd), "
            "or scan without a daemon: nodedevctl --sysroot / ..."
        )


class NoControl(NoDaemon):
    """The control service cannot be asked for changes: it is not enabled, or not for this user."""

    code = "no-control"

    def __str__(self) -> str:
        (path, *_) = self.tried
        if self.reason == os.strerror(errno.EACCES).lower():
            return (
                f"{path} is closed to this user: changes are for root and for members of the"
                " socket's group, nodedevd"
            )
        return (
            f"no control service answers on {path} ({self.reason}), and without it changes are"
            " for root alone; enable it, as root: systemctl enable --now nodedevd-control.socket"
        )
