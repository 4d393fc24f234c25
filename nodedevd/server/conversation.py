"""Conversation: how a protocol answers one client, without I/O.

Bytes go in; bytes, or answers to be awaited, come out. A `ClientConnection` owns a conversation
and does its I/O; it stops reading while the conversation is `full`, and asks for output only
while the client reads, so that the memory of a conversation is bounded.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, TypeVar

import msgspec

from nodedevd.errors import TooManyClients
from nodedevd.server.account import Holding

NO_UID: Final = 1 << 32
"""Greater than any uid_t: from here on, clients have a `uid` whose user is not known."""


class Peer(msgspec.Struct, frozen=True, gc=False):
    """The client's process when it connected, SO_PEERCRED of unix(7)."""

    pid: int
    uid: int

    @property
    def user(self) -> int | None:
        """The uid by which the log limits what is said of a user; None if that is not known."""
        return self.uid if self.uid < NO_UID else None


class ConnectedPeer(Peer, frozen=True, gc=False):
    """The same, with the socket on which it is answered: another service can ask who it is."""

    socket: socket.socket


A = TypeVar("A")


class Conversation(ABC, Generic[A]):
    """The calls of one client and their answers.

    Attributes:
        ended: nothing that arrives is a call any more; the connection is closed as soon as the
            calls before are answered.
        failure: why the connection must be closed at once, None if it need not be.
        tick_seconds: the interval at which `tick` is to be called; 0 is never.
    """

    ended = False
    failure: str | None = None
    tick_seconds = 0.0

    @abstractmethod
    def receive(self, data: bytes) -> None:
        """Take bytes that arrived; call `next` until it returns None before the next ones."""

    @abstractmethod
    def next(self) -> bytes | Awaitable[A] | None:
        """Return the next bytes to send, or None if there are none now; it takes little time.

        The bytes may be empty: then something was done, and there may be more at once.
        An awaitable is to be run as a task, and its result given to `answered` or `failed`. The
        connection cancels it when it closes.
        """

    @abstractmethod
    def answered(self, answer: A) -> None:
        """Take the result of an awaitable, possibly after `close`; `next` continues with it."""

    @abstractmethod
    def failed(self, error: BaseException) -> None:
        """Take the exception of an awaitable, possibly after `close`."""

    @abstractmethod
    def close(self) -> None:
        """Give up what is being answered; the connection is closed."""

    @property
    @abstractmethod
    def answering(self) -> bool:
        """Whether there will be more output without further input."""

    @property
    def full(self) -> bool:
        """Whether nothing more may be received until something is answered."""
        return self.answering

    @property
    def unfinished(self) -> bool:
        """Whether a call is being answered in steps: `next` returns empty bytes between them."""
        return False

    @property
    def outlives_client(self) -> bool:
        """Whether the awaited answer is to be finished even when the client has closed."""
        return False

    def tick(self) -> None:
        """Note that `tick_seconds` have passed; `next` may have output then."""


class ConversationFactory(ABC):
    """A protocol: begins the conversations of all its clients.

    Attributes:
        calls: the number of calls received since the start.
    """

    def __init__(self) -> None:
        self.calls = 0

    @abstractmethod
    def begin(
        self, peer: Peer, wake: Callable[[], None], holding: Holding | None = None
    ) -> Conversation[Any]:
        """Return the conversation with a new client.

        The conversation calls `wake` when `next` may have output again, or `failure` is set. It
        counts in `holding` what it keeps in memory; the connection closes that.
        """

    @abstractmethod
    def refusal(self, error: TooManyClients, received: bytes) -> bytes | None:
        """Return what a client without a place is sent, which has sent `received` so far.

        None: that depends on what it has not sent yet.
        """
