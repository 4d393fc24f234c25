"""type_names: the names of vGPU profiles that were seen, by id, for as long as the host runs.

A driver with vendor VFIO lists the types that still fit, so on a full card it names none, while a
layout wants types by name. An id has one name, whatever the card.
"""

from __future__ import annotations

import logging
import threading
from contextlib import closing
from typing import Final

import msgspec

from nodedevd.control.directory import Directory
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.snapshot import Snapshot
from nodedevd.undecodable import UNDECODABLE

MOST: Final = 4096
_FILE: Final = "type-names"
_log: Final = logging.getLogger(__name__)

# Prepared here, since msgspec crashes if two threads prepare a type at once.
_DECODER: Final = msgspec.json.Decoder(dict[str, str])


class TypeNames:
    """The names, kept in a file."""

    def __init__(self, directory: str) -> None:
        """Keep them in this directory, which is root's alone. Nothing is read yet."""
        self._directory = directory
        self._lock = threading.Lock()
        self._names: dict[str, str] | None = None

    def learnt(self, snapshot: Snapshot) -> dict[str, str]:
        """Return all names by id, with those that a tree shows. Raises OSError, UnsafePath."""
        shown = {
            one.id: one.name
            for device in snapshot.select(("vgpu",))
            if (vgpu := device.capability(Vgpu)) is not None
            for one in (vgpu.current, *(vgpu.creatable or ()))
            if one is not None and one.name is not None
        }
        with self._lock:
            if self._names is None:
                self._names = self._read()
            if not shown.items() <= self._names.items():
                self._names = dict(list({**self._names, **shown}.items())[-MOST:])
                with closing(Directory(self._directory)) as directory:
                    directory.replace(_FILE, msgspec.json.encode(self._names))
            return dict(self._names)

    def _read(self) -> dict[str, str]:
        with closing(Directory(self._directory)) as directory:
            data = directory.read(_FILE)
        if data is not None:
            try:
                return _DECODER.decode(data)
            except UNDECODABLE as error:
                _log.warning("%s/%s is malformed: %s", self._directory, _FILE, error)
        return {}
