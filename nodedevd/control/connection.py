"""ControlConnection: a client of the control service, which may pass a socket along with SpeakFor.

All other descriptors, of whoever passes them, are closed, and the connection after them: the
kernel opens at the most one of them here.
"""

from __future__ import annotations

import array
import logging
import socket
from typing import Any, Final

from nodedevd.control.asker import Asker
from nodedevd.control.caller import Caller
from nodedevd.server.account import Account
from nodedevd.server.connection import ClientConnection, Owner
from nodedevd.server.conversation import Conversation, ConversationFactory, Peer
from nodedevd.server.listener import accept_descriptors

_ONE: Final = socket.CMSG_LEN(array.array("i").itemsize)
"""Space for one descriptor: CMSG_SPACE has a place for a second one."""

_log: Final = logging.getLogger(__name__)


class ControlConnection(ClientConnection):
    """The connection of one client; it counts as one of the user for whom it speaks."""

    def __init__(
        self,
        owner: Owner,
        factory: ConversationFactory,
        peer: Peer,
        account: Account,
        sock: socket.socket,
    ) -> None:
        """Begin; `peer` is the Asker that has connected."""
        assert isinstance(peer, Asker)
        caller = Caller.of(peer)
        self._identity = caller.identity
        super().__init__(owner, factory, caller, account, sock)
        self._recv_into = self._receive_passed
        self._passed = False  # descriptors have come with what was received last
        self._identity.moved = self._move
        if self._identity.may_pass:
            accept_descriptors(sock)

    def _disconnect(self) -> None:
        super()._disconnect()
        self._identity.close()
        self._recv_into = self._socket.recv_into  # without the reference to this object

    def _move(self, asker: Asker) -> None:
        self.move(asker.uid)

    def _receive(self, conversation: Conversation[Any]) -> bool:
        received = super()._receive(conversation)
        if self._passed:
            # One call gives no bytes from beyond descriptors, so that there may be more.
            self._readable, self._passed = True, False
        return received

    def _receive_passed(self, buffer: memoryview) -> int:
        """Receive as `recv_into` does; see to the descriptors that come along."""
        size, ancillary, flags, _ = self._socket.recvmsg_into(
            [buffer], _ONE if self._identity.may_pass else 0, socket.MSG_CMSG_CLOEXEC
        )
        if ancillary or flags & socket.MSG_CTRUNC:
            self._passed = True
            descriptors = array.array("i")
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
            more = bool(flags & socket.MSG_CTRUNC)
            if not self._identity.passed(descriptors, more=more):
                pid, user = self._peer.pid, {"user": self._peer.uid}
                _log.info("process %d passes descriptors that have no place", pid, extra=user)
                self._conversation.ended = True
        return size
