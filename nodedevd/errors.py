"""Every error nodedevd raises on purpose: a stable code, named fields, one sentence.

`code` is the word that goes over the wire and into documentation; it never changes.
Anything that is not a `NodedevError` is a defect: logged with its traceback, answered as
an internal error, and scoped to the call that met it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class NodedevError(Exception):
    """The root of all deliberate errors."""

    code: ClassVar[str] = "internal-error"


class NodeGone(NodedevError):
    """The sysfs directory of a device went away while it was read: quiet, it has been removed."""

    code = "node-gone"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} is gone"


class NoSuchDevice(NodedevError):
    """No device answers to this name, in any of the accepted forms."""

    code = "no-such-device"

    def __init__(self, name: str, nearest: Sequence[str] = ()) -> None:
        super().__init__(name, tuple(nearest))
        self.name = name
        self.nearest = tuple(nearest)

    def __str__(self) -> str:
        hint = f"; did you mean {', '.join(self.nearest)}?" if self.nearest else ""
        return f"no device named {self.name!r}{hint}"


class NotInFormat(NodedevError):
    """The device exists, but is none that the XML format asked for can show."""

    code = "not-in-format"

    def __init__(self, name: str, form: str) -> None:
        super().__init__(name, form)
        self.name = name
        self.format = form

    def __str__(self) -> str:
        return f"the format {self.format!r} does not show {self.name}; the default one does"


class NotAssignable(NodedevError):
    """The device exists, or will, but cannot be assigned to a guest as it is.

    `reason` is a word that never changes, `detail` says what to do next; see `hostdev.Reason`.
    """

    code = "not-assignable"

    def __init__(self, name: str, reason: str, detail: str) -> None:
        super().__init__(name, reason, detail)
        self.name = name
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.name} cannot be assigned to a guest: {self.detail}"


class DoesNotFit(NodedevError):
    """An option does not fit the device that is to be assigned to a guest."""

    code = "does-not-fit"

    def __init__(self, name: str, parameter: str, detail: str) -> None:
        super().__init__(name, parameter, detail)
        self.name = name
        self.parameter = parameter
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.parameter} does not fit {self.name}: {self.detail}"


class InvalidParameter(NodedevError):
    """A request carries a parameter that cannot be used."""

    code = "invalid-parameter"

    def __init__(self, parameter: str, reason: str = "") -> None:
        super().__init__(parameter, reason)
        self.parameter = parameter
        self.reason = reason

    def __str__(self) -> str:
        return f"invalid parameter {self.parameter!r}" + (f": {self.reason}" if self.reason else "")


class ExpectedMore(NodedevError):
    """The method answers with several replies and has to be called with `more`."""

    code = "expected-more"

    def __str__(self) -> str:
        return "this method streams its answer: call it with 'more'"


class NotASysroot(NodedevError):
    """The directory given as sysroot holds no `sys/`."""

    code = "not-a-sysroot"

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.root = root

    def __str__(self) -> str:
        return f"{self.root} is not a sysroot: it has no directory sys/"


class SocketInUse(NodedevError):
    """Another daemon answers on the socket that was to be opened."""

    code = "socket-in-use"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return (
            f"another daemon already serves {self.path}; stop it, or give this one "
            "a socket of its own with --socket"
        )


class NoDaemon(NodedevError):
    """No daemon answers on any of the sockets that were tried."""

    code = "no-daemon"

    def __init__(self, tried: Sequence[str], reason: str) -> None:
        super().__init__(tuple(tried), reason)
        self.tried = tuple(tried)
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"no nodedevd answers on {' or '.join(self.tried)} ({self.reason}); "
            "start one (systemctl start nodedevd.socket, or run nodedevd), "
            "or scan without a daemon: nodedevctl --sysroot / ..."
        )
