"""Errors of a fleet: of its servers, its bucket, and its hosts."""

from __future__ import annotations

from nodedevd.errors import NodedevError


class FleetError(NodedevError):
    """The base class of what a fleet's servers can be the reason of."""

    code = "fleet-error"


class FleetUnreachable(FleetError):
    """No server of the fleet answers, or none can tell the newest state: nothing is known now."""

    code = "fleet-unreachable"
    servers: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return (
            f"the fleet at {' or '.join(self.servers)} does not answer: {self.reason}; "
            "check the servers, and try again"
        )


class FleetRefused(FleetError):
    """The server does not let this client in, or not do this."""

    code = "fleet-refused"
    what: str
    reason: str

    def __str__(self) -> str:
        return (
            f"the fleet's server refuses {self.what}: {self.reason}; "
            "check the user, its permissions, and inbox_prefix"
        )


class NoFleet(FleetError):
    """The servers have no such bucket."""

    code = "no-fleet"
    bucket: str

    def __str__(self) -> str:
        return (
            f"the servers have no bucket {self.bucket!r}; an administrator makes it: "
            "nodedevd-publish --make-bucket"
        )


class FleetFull(FleetError):
    """The server has no room for a value, or the value is too large."""

    code = "fleet-full"
    key: str
    reason: str

    def __str__(self) -> str:
        return f"the fleet's server does not store {self.key}: {self.reason}"


class WrongSequence(FleetError):
    """A key is not as it was last seen: somebody else has written it."""

    code = "wrong-sequence"
    key: str
    expected: int

    def __str__(self) -> str:
        return f"the key {self.key} is no longer at {self.expected}"


class BadAccess(FleetError):
    """Servers, user or certificates cannot be used as they are given."""

    code = "bad-access"
    key: str
    """of `Access`"""
    reason: str

    def __str__(self) -> str:
        return f"{self.key} of the fleet: {self.reason}"


class NoNats(FleetError):
    """The client library of NATS, or what it needs for credentials, is not installed."""

    code = "no-nats"
    package: str

    def __str__(self) -> str:
        return (
            f"a fleet needs the Python package {self.package}: install it with pip beside nodedevd"
        )


class NoSuchHost(FleetError):
    """The fleet has no host of this id or name; `nearest` are similar ones."""

    code = "no-such-host"
    name: str
    nearest: tuple[str, ...] = ()

    def __str__(self) -> str:
        hint = f"; did you mean {', '.join(self.nearest)}?" if self.nearest else ""
        return f"no host {self.name!r} in the fleet{hint}"


class NoTree(FleetError):
    """The tree of a host cannot be had: not published, incomplete, or of another version."""

    code = "no-tree"
    host: str
    reason: str

    def __str__(self) -> str:
        return f"the tree of the host {self.host!r} cannot be read: {self.reason}"
