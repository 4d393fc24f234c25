"""A server that answers by a script, whatever it is asked: for what a daemon never does."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from nodedevd.varlink import Call, CallDecoder
from tests.support.running import PATIENCE_SECONDS

Script = Sequence[bytes | None]
"""What the calls of one connection are answered, in order; then it is closed.

None is no answer: the connection stays open until the client closes it.
"""


class Scripted:
    """What was asked; use `answering`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.calls: list[list[Call]] = []
        """by connection"""
        self.passed: list[os.stat_result] = []
        """files whose descriptors came along"""
        self.answered = threading.Event()
        """set once anything was answered"""

    def parameters(self, connection: int, call: int = 0) -> dict[str, object]:
        """Return the parameters of a call."""
        decoded: dict[str, object] = msgspec.json.decode(self.calls[connection][call].parameters)
        return decoded


def _serve(connection: socket.socket, script: Script, scripted: Scripted) -> None:
    decoder = CallDecoder()
    connection.settimeout(PATIENCE_SECONDS)
    for answer in script:
        while (call := decoder.next()) is None:
            data, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 4)
            for descriptor in descriptors:
                scripted.passed.append(os.fstat(descriptor))
                os.close(descriptor)
            if not data:
                return
            decoder.feed(data)
        assert isinstance(call, Call)
        scripted.calls[-1].append(call)
        if answer is None:
            connection.recv(1)
        else:
            connection.sendall(answer)
            scripted.answered.set()


@contextmanager
def answering(directory: Path, *scripts: Script) -> Iterator[Scripted]:
    """Serve as many connections as there are scripts, one after another."""
    scripted = Scripted(str(directory / "answering.sock"))
    with socket.socket(socket.AF_UNIX) as server:
        server.settimeout(PATIENCE_SECONDS)
        server.bind(scripted.path)
        server.listen()

        def serve() -> None:
            for script in scripts:
                connection, _ = server.accept()
                scripted.calls.append([])
                with connection, suppress(BrokenPipeError, ConnectionResetError):
                    _serve(connection, script, scripted)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield scripted
        finally:
            thread.join()
