"""access: where the servers of a fleet are, and as whom they are asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

Path = Annotated[str, msgspec.Meta(pattern="^/", max_length=4096)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]

DEFAULT_BUCKET: Final = "fleet"
_USER: Final = re.compile(r"((?:[a-z]+://)?).*@", re.DOTALL | re.IGNORECASE)
"""All up to the last @, since a password need not be quoted as it should be."""


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Certificates, as files in PEM."""

    ca: Path | None = None
    """of the authorities that a server's certificate must be of; None: those of the system"""
    certificate: Path | None = None
    """of this client, for servers that want one"""
    key: Path | None = None


class Access(msgspec.Struct, frozen=True):
    """Servers, bucket and user."""

    servers: tuple[Text, ...]
    """nats:// or tls://, with a port"""
    bucket: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")] = DEFAULT_BUCKET
    user: Text | None = None
    password_file: Path | None = None
    credentials: Path | None = None
    """a file with a JWT and the seed of its key, as `nsc` writes it"""
    inbox_prefix: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")] = "_INBOX"
    """the only subjects that this client subscribes to are below it"""
    tls: Tls | None = None
    timeout_seconds: float = 5.0
    """the longest time for an answer of a server"""

    @property
    def shown(self) -> tuple[str, ...]:
        """The servers without passwords."""
        return tuple(map(without_user, self.servers))


def without_user(server: str) -> str:
    """Return the URL of a server without user and password."""
    return _USER.sub(r"\1", server, count=1)


def access(servers: str | Sequence[str] | Access) -> Access:
    """Return the access to servers, given as one URL, several with commas, or a list."""
    if isinstance(servers, Access):
        return servers
    if isinstance(servers, str):
        servers = [one.strip() for one in servers.split(",") if one.strip()]
    return Access(tuple(servers))
