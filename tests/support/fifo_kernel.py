"""A played kernel for other processes: what they write to the files of a host goes through FIFOs.

`create` and `remove` of mdevs are FIFOs, which nobody reads but a thread of the test: it does what
the kernel does. A write returns before it has been done, and cannot be refused; it hangs while
nobody reads.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.played_kernel import PlayedKernel, mtty_parent
from tests.support.running import PATIENCE_SECONDS
from tests.support.trees import Tree

_END = b"end"
_UUIDS = re.compile(rb"[0-9A-Fa-f-]{36}")
"""What several processes have written to a FIFO comes as one piece."""


class FifoKernel:
    """A host with the parent mtty; use `fifo_kernel`.

    Attributes:
        root: the sysroot.
        parent: path of the parent.
    """

    def __init__(self, directory: Path) -> None:
        (directory / "etc").mkdir(parents=True)
        self.root = directory
        self._kernel = PlayedKernel(Tree(directory))
        self.parent = mtty_parent(self._kernel)
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._served = threading.RLock()  # a FIFO that is there has a thread that has begun
        for type_id in ("mtty-1", "mtty-2"):
            self._serve(self.create_path(type_id))

    @property
    def mdevs(self) -> set[str]:
        """The uuids of the mdevs."""
        with self._lock:
            return {path.rpartition("/")[2] for path in self._kernel.mdev.types}

    def create_path(self, type_id: str = "mtty-1") -> str:
        """Return the attribute that creates mdevs of a type."""
        return f"{self.parent}/mdev_supported_types/{type_id}/create"

    def create(self, uuid: str, type_id: str = "mtty-1") -> None:
        """Create an mdev, as another program does."""
        with self._lock:
            self._kernel.write(self.create_path(type_id), uuid)

    def hang(self, path: str) -> None:
        """Have writes to a file hang from now on."""
        self._end(path)
        file = self._kernel.tree.at(path)
        os.unlink(file)
        os.mkfifo(file)

    def resume(self, path: str) -> None:
        """Have the driver answer what hangs."""
        self._begin(path)

    def wait_removable(self, uuid: str) -> None:
        """Wait until an mdev exists whose `remove` is served."""
        file = self._kernel.tree.at(f"{self.parent}/{uuid}/remove")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (os.path.exists(file) and stat.S_ISFIFO(os.stat(file).st_mode)):
            assert time.monotonic() < deadline, f"no mdev {uuid}"
            time.sleep(0.005)

    def close(self) -> None:
        """End the threads."""
        for path in tuple(self._threads):
            self._end(path)

    def _serve(self, path: str) -> None:
        """Put a FIFO in the place of a file, and have a thread do what is written to it."""
        file = self._kernel.tree.at(path)
        os.mkfifo(f"{file}.new")
        with self._served:
            os.rename(f"{file}.new", file)
            self._begin(path)

    def _begin(self, path: str) -> None:
        thread = threading.Thread(target=self._play, args=(path,), daemon=True)
        with self._served:
            self._threads[path] = thread
            thread.start()

    def _end(self, path: str) -> None:
        with self._served:
            thread = self._threads.pop(path, None)
        if thread is None:
            return
        with suppress(FileNotFoundError):
            descriptor = os.open(self._kernel.tree.at(path), os.O_RDWR)
            os.write(descriptor, _END)
            thread.join(PATIENCE_SECONDS)
            os.close(descriptor)

    def _play(self, path: str) -> None:
        try:
            # Open until the end, also for writing: what is written between two reads is kept.
            fifo = os.open(self._kernel.tree.at(path), os.O_RDWR)
        except FileNotFoundError:
            return
        try:
            while True:
                data = os.read(fifo, 4096)
                for uuid in _UUIDS.findall(data) if path.endswith("/create") else ():
                    self._write(path, uuid.decode())
                if data.endswith(_END):
                    return
                if path.endswith("/remove"):
                    self._write(path, data.decode())
                    self._threads.pop(path, None)
                    return
        finally:
            os.close(fifo)

    def _write(self, path: str, value: str) -> None:
        """Do what the kernel does when a value is written to an attribute."""
        with self._lock, suppress(OSError):
            self._kernel.write(path, value)
            if path.endswith("/create"):
                self._serve(f"{self.parent}/{value.lower()}/remove")


@contextmanager
def fifo_kernel(directory: Path) -> Iterator[FifoKernel]:
    """Make a host in a directory, and play its kernel."""
    made = FifoKernel(directory)
    try:
        yield made
    finally:
        made.close()
