"""A server in the test's own process, on a socket of its own."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from nodedevd.server.acceptor import Server, ServerLimits
from nodedevd.server.account import AccountLimits
from nodedevd.server.conversation import ConversationFactory


@asynccontextmanager
async def served(
    path: Path,
    protocol: ConversationFactory,
    limits: ServerLimits | None = None,
    accounts: AccountLimits | None = None,
) -> AsyncIterator[Server]:
    """Serve a protocol at a path, and check that no client is left at the end."""
    server = Server(limits, accounts)
    server.listen(listening(path), protocol)
    try:
        yield server
    finally:
        server.close()
        await server.wait_closed()
    assert server.clients == 0


def listening(path: Path) -> socket.socket:
    """Return a socket that listens at a path, whose file is replaced."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    sock.listen(1024)
    return sock
