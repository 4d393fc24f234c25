"""ByPeer: one socket for clients that see all of a device, and others that see what is public.

Each of the two has a protocol of its own, with its own encodings and cached replies: what was
encoded for root is never sent to another user.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from nodedevd.errors import TooManyClients
from nodedevd.server.account import Holding
from nodedevd.server.conversation import Conversation, ConversationFactory, Peer


class ByPeer(ConversationFactory):
    """Begins a conversation of `trusted` with root and the daemon's own user, else of `others`."""

    def __init__(self, trusted: ConversationFactory, others: ConversationFactory) -> None:
        super().__init__()
        self._trusted = trusted
        self._others = others

    def begin(
        self, peer: Peer, wake: Callable[[], None], holding: Holding | None = None
    ) -> Conversation[Any]:
        """Return the conversation with a new client, which counts its own calls."""
        factory = self._trusted if peer.uid in (0, os.geteuid()) else self._others
        return factory.begin(peer, wake, holding)

    def refusal(self, error: TooManyClients, received: bytes) -> bytes | None:
        """Return what a client without a place is sent, the same for both."""
        return self._others.refusal(error, received)
