"""Configuration: which fleet a host publishes to, as whom, and how often.

Reads  /etc/nodedevd/fleet.toml; nodedevctl --fleet takes such a file, too
Form   TOML; docs/fleet.md describes each key. An unknown key, or an unusable value, is refused
       with its line.
"""

from __future__ import annotations

import os
from typing import Annotated, Final

import msgspec

from nodedevd.client.fleet.access import Access, check_servers
from nodedevd.client.fleet.errors import BadAccess
from nodedevd.client.fleet.values import ShortText, host_id
from nodedevd.host.settings_file import (
    BadConfiguration,
    line_of,
    parse_toml,
    read_settings_file,
)
from nodedevd.text import printable
from nodedevd.undecodable import UNDECODABLE

DEFAULT_PATH: Final = "/etc/nodedevd/fleet.toml"
DEFAULT_STATE: Final = "/var/lib/nodedevd-publish"


class Configuration(Access, frozen=True, forbid_unknown_fields=True):
    """All of it; the first keys are those of Access."""

    host: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")] | None = None
    """the id of this host, a part of its keys; None: its name, with _ for dots"""
    name: ShortText | None = None
    """the name of this host; None: that of the machine"""
    heartbeat_seconds: Annotated[float, msgspec.Meta(ge=0.05, le=3600)] = 15.0
    publish_seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 1.0
    """the shortest time between two states that are published"""
    socket: str | None = None
    """of nodedevd; None: the one that clients find"""
    state_directory: str | None = None
    """has the name of the last publisher; None: $STATE_DIRECTORY, or /var/lib/nodedevd-publish"""

    @property
    def own_name(self) -> str:
        """The name of this host."""
        return self.name or os.uname().nodename

    @property
    def own_id(self) -> str:
        """The id of this host."""
        return self.host or host_id(self.own_name)

    @property
    def state(self) -> str:
        """The directory of the publisher's state."""
        return self.state_directory or os.environ.get("STATE_DIRECTORY") or DEFAULT_STATE


def read_configuration(path: str = DEFAULT_PATH) -> Configuration:
    """Read the configuration. Raises BadConfiguration."""
    data = read_settings_file(path, required=True)
    assert data is not None
    return parse_configuration(data, path)


def parse_configuration(data: bytes, path: str = DEFAULT_PATH) -> Configuration:
    """Parse the text of a configuration. Raises BadConfiguration."""
    text, found = parse_toml(data, path)
    known = Configuration.__struct_fields__
    for key, value in found.items():
        keys = (key,)
        if key not in known:
            reason = f"unknown key {printable(key)!r}; allowed are {', '.join(known)}"
            raise BadConfiguration(path, line_of(text, keys), reason)
        try:
            one = msgspec.convert({"servers": ["nats://any"], key: value}, Configuration)
            check_servers(one)
        except BadAccess as error:
            raise BadConfiguration(path, line_of(text, keys), error.reason) from error
        except UNDECODABLE as error:
            reason = f"{key} cannot be used: {printable(str(error))}"
            raise BadConfiguration(path, line_of(text, keys), reason) from error
    if "servers" not in found:
        raise BadConfiguration(path, None, 'give servers = ["nats://HOST:4222"]')
    return msgspec.convert(found, Configuration)
