"""Late: a protocol that is loaded for its first client, since most hosts have none of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from nodedevd.errors import TooManyClients
from nodedevd.server.account import Holding
from nodedevd.server.conversation import Conversation, ConversationFactory, Peer

F = TypeVar("F", bound=ConversationFactory)


class Late(ConversationFactory, Generic[F]):
    """Begins the conversations of a protocol that `make` makes, once it is needed."""

    def __init__(self, make: Callable[[], F]) -> None:
        super().__init__()
        self._make = make
        self._made: F | None = None

    @property
    def made(self) -> F:
        """The protocol itself."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def begin(
        self, peer: Peer, wake: Callable[[], None], holding: Holding | None = None
    ) -> Conversation[Any]:
        """Return the conversation with a new client, which the protocol itself counts."""
        return self.made.begin(peer, wake, holding)

    def refusal(self, error: TooManyClients, received: bytes) -> bytes | None:
        """Return what a client without a place is sent."""
        return self.made.refusal(error, received)
