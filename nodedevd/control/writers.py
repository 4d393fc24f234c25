"""writers: the processes that write to sysfs, one for each card that is being changed.

See `writer` for what they are and why. A writer is used by one thread at a time: by the one that
has the card's lock. It is kept for the next change of its card.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from typing import Final

from nodedevd.control import writer
from nodedevd.control.steps.base import StepRefused

IDLE_AT_MOST: Final = 8
"""Writers that are kept although they have nothing to write; each takes 8 MiB."""
COMMAND: Final = (sys.executable, "-I", "-S", writer.__file__)


class WriterEnded(Exception):
    """A writer ended before the driver answered: whether its write took place is unknown."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"the process that wrote to {path} ended before the driver answered")


class Writer:
    """One process, and the socket to it. Raises OSError if it cannot be started."""

    def __init__(self, command: Sequence[str], root: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self.pid = os.posix_spawn(
                    command[0],
                    [*command, root],
                    {},
                    file_actions=[
                        (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
                        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    ],
                    setpgroup=0,  # not that of a terminal, whose Ctrl-C it would get
                )
            except OSError:
                ours.close()
                raise
        self._socket = ours

    def send(self, path: str, value: str, locks: Sequence[int]) -> None:
        """Have it write. Raises OSError if the request does not reach it."""
        message = json.dumps({"path": path, "value": value}).encode()
        socket.send_fds(self._socket, [message], locks)

    def answer(self, path: str) -> int:
        """Wait for the errno of the write, which may never come. Raises WriterEnded."""
        answer = b""
        with suppress(ConnectionResetError):
            answer = self._socket.recv(writer.MESSAGE_BYTES)
        if not answer:
            raise WriterEnded(path)
        number: int = json.loads(answer)["errno"]
        return number

    def close(self) -> None:
        """End it; it must not be writing."""
        self._socket.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


class Writers:
    """The writers of one host, by card."""

    def __init__(self, root: str = "/", command: Sequence[str] = COMMAND) -> None:
        self._root = root
        self._command = command
        self._lock = Lock()
        self._idle: dict[str, Writer] = {}

    def write(self, card: str, path: str, value: str, locks: Sequence[int] = ()) -> None:
        """Have the writer of a card write, and wait for the answer, which may never come.

        Args:
            card: The card.
            path: The attribute.
            value: What is written.
            locks: Descriptors that stay open, whatever becomes of this process, while it writes.

        Raises OSError as the kernel answers, WriterEnded, StepRefused if there is no writer.
        """
        used = self._sent(card, path, value, locks)
        try:
            number = used.answer(path)
        except WriterEnded:
            used.close()
            raise
        self._keep(card, used)
        if number:
            raise OSError(number, os.strerror(number), path)

    def close(self) -> None:
        """End all that do not write; the others end when their driver has answered."""
        with self._lock:
            idle, self._idle = list(self._idle.values()), {}
        for one in idle:
            one.close()

    def _sent(self, card: str, path: str, value: str, locks: Sequence[int]) -> Writer:
        """Return the writer that has got the request."""
        with self._lock:
            kept = self._idle.pop(card, None)
        if kept is not None:
            try:
                kept.send(path, value, locks)
                return kept
            except OSError:
                kept.close()  # somebody has killed it while it had nothing to do
        try:
            new = Writer(self._command, self._root)
            new.send(path, value, locks)
        except OSError as error:
            detail = f"no process could be started that writes to {path}: {error.strerror}"
            raise StepRefused(error.errno or 0, detail) from None
        return new

    def _keep(self, card: str, used: Writer) -> None:
        with self._lock:
            self._idle[card] = used
            surplus = None
            if len(self._idle) > IDLE_AT_MOST:
                surplus = self._idle.pop(next(iter(self._idle)))
        if surplus is not None:
            surplus.close()
