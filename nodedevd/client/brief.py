"""BriefClient: lists a daemon's devices, and loads no kind of capability for that.

A program that asks for more has `Client`, which takes several times as long to import.
"""

from __future__ import annotations

from collections.abc import Iterable

from nodedevd.client.blocking_caller import BlockingCaller
from nodedevd.client.question import in_brief
from nodedevd.model.brief import DeviceList
from nodedevd.socket_paths import candidate_socket_paths


class BriefClient(BlockingCaller):
    """Asks a daemon for lists; a context manager. Its errors are those of `Client`."""

    def __init__(self, path: str | None = None) -> None:
        """Connect to a socket, by default as `Client` does."""
        super().__init__([path] if path is not None else candidate_socket_paths())

    def list(self, capabilities: Iterable[str] | None = None) -> DeviceList:
        """Return the devices with any of the capabilities, in brief. Raises InvalidParameter."""
        return self._ask(in_brief(capabilities))
