"""Question: a call and the meaning of its replies, without I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from nodedevd.client.decoding import decode
from nodedevd.client.errors import NotUnderstood, remote_error
from nodedevd.model.brief import DeviceList
from nodedevd.socket_paths import INTERFACE
from nodedevd.undecodable import UNDECODABLE
from nodedevd.varlink import Reply, encode_call

if TYPE_CHECKING:
    # They need every kind of capability, and a list has none.
    from nodedevd.model.device import Device
    from nodedevd.model.listing import Devices, XmlDocument

D = TypeVar("D", "DeviceList", "Devices")
R = TypeVar("R")
T = TypeVar("T")


class Question(Generic[T]):
    """A call: the message to send, and the answer that its replies make."""

    def __init__(
        self,
        method: str,
        reply: type[R],
        answer: Callable[[Sequence[R]], T],
        /,
        *,
        more: bool = False,
        interface: str = INTERFACE,
        **parameters: object,
    ) -> None:
        """Prepare a call.

        Args:
            method: Its name within the interface.
            reply: The type of each reply's parameters; unknown members are ignored.
            answer: Makes the answer of all replies; without `more` there is one.
            more: Whether several replies are wanted.
            interface: That of the method.
            parameters: The parameters of the call; None leaves one at its default.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        self.message = encode_call(f"{interface}.{method}", given, more=more)
        self._more = more
        self._reply = reply
        self._answer = answer

    def answer(self, replies: Sequence[Reply]) -> T:
        """Return the answer of all the replies, at least one.

        Raises NotUnderstood, or the error of an error reply.
        """
        for reply in replies:
            if reply.error is not None:
                raise remote_error(reply)
        if not self._more and len(replies) > 1:
            raise NotUnderstood(f"{len(replies)} replies to a call that has one")
        return self._answer([decoded(reply.parameters, self._reply) for reply in replies])


def decoded(text: msgspec.Raw, kind: type[R]) -> R:
    """Return the parameters of a reply, or a part of them. Raises NotUnderstood."""
    try:
        return decode(text, kind)
    except UNDECODABLE as error:
        raise NotUnderstood(str(error)) from error


def words(given: Iterable[str] | None) -> list[str] | None:
    """Return words as a parameter; a string is one word, not a sequence of letters."""
    return [given] if isinstance(given, str) else None if given is None else list(given)


# -- what replies are, and the answers they make -------------------------------------------


class DumpXmlReply(msgspec.Struct):
    """A reply to DumpXML."""

    xml: str


class RawDevices(msgspec.Struct):
    """A reply to Describe or Snapshot, with devices as the daemon encodes them."""

    generation: int
    devices: list[msgspec.Raw]


def in_brief(capabilities: Iterable[str] | None) -> Question[DeviceList]:
    """Return the call for the devices with any of the capabilities, in brief."""
    return Question("List", DeviceList, joined, more=True, capabilities=words(capabilities))


def only(replies: Sequence[T]) -> T:
    """Return the one reply."""
    return replies[0]


def joined(replies: Sequence[D]) -> D:
    """Return the devices of all replies."""
    devices = tuple([one for part in replies for one in part.devices])
    return msgspec.structs.replace(replies[-1], devices=devices)


def joined_json(replies: Sequence[RawDevices]) -> bytes:
    """Return the devices of all replies as a JSON document."""
    devices = b",".join([bytes(one) for part in replies for one in part.devices])
    return b'{"generation":%d,"devices":[%b]}' % (replies[-1].generation, devices)


def joined_xml(replies: Sequence[DumpXmlReply]) -> str:
    """Return the XML of all replies."""
    return "".join([part.xml for part in replies])


def joined_document(replies: Sequence[XmlDocument]) -> XmlDocument:
    """Return the XML of all replies, with its generation."""
    return msgspec.structs.replace(replies[-1], xml="".join([part.xml for part in replies]))


def device(replies: Sequence[Devices]) -> Device:
    """Return the one device of the one reply. Raises NotUnderstood."""
    if len(replies[0].devices) != 1:
        raise NotUnderstood(f"{len(replies[0].devices)} devices instead of one")
    return replies[0].devices[0]
