"""access: where the servers of a fleet are, and as whom they are asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from nodedevd.client.fleet.errors import BadAccess

Path = Annotated[str, msgspec.Meta(pattern="^/", max_length=4096)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]

DEFAULT_BUCKET: Final = "fleet"
_SCHEMES: Final = ("nats", "tls", "ws", "wss")
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
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 5.0
    """the longest time for an answer of a server"""

    @property
    def shown(self) -> tuple[str, ...]:
        """The servers without passwords."""
        return tuple(map(without_user, self.servers))


def check_servers(access: Access) -> None:
    """Raise BadAccess if there is no server, or the URL of one cannot be used."""
    if not access.servers:
        raise BadAccess("servers", "there is none; give a URL such as nats://HOST:4222")
    for number, server in enumerate(access.servers, 1):
        if not _is_url(server):  # and it may have a password anywhere
            raise BadAccess(
                "servers",
                f"number {number} is no URL; give one such as nats://HOST:4222 or tls://HOST:4222",
            )


def _is_url(server: str) -> bool:
    try:
        parts = urlsplit(server if "://" in server else f"nats://{server}")
        return parts.scheme in _SCHEMES and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port that is no number, half an IPv6 address
        return False


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
