"""The calls, without I/O: what is sent for each method, and what its replies come to.

Both forms of the client ask these questions. A new method is a function here, and a method of
one line in `blocking` and in `asynchronous`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import msgspec

from nodedevd.client.decoding import decode
from nodedevd.client.errors import INTERFACE, NotUnderstood, remote_error
from nodedevd.formats import Format
from nodedevd.model.device import Device
from nodedevd.model.listing import DeviceList, Devices
from nodedevd.model.status import Status
from nodedevd.questions.fits import Fits
from nodedevd.questions.hostdev import HostDev, HostDevRequest
from nodedevd.questions.in_use import InUse
from nodedevd.questions.resolve import Resolution
from nodedevd.varlink import Reply, encode_call

R = TypeVar("R")
T = TypeVar("T")


class Question(Generic[T]):
    """A call: the message to send, and what the replies to it mean."""

    def __init__(
        self,
        method: str,
        reply: type[R],
        answer: Callable[[Sequence[R]], T],
        *,
        more: bool = False,
        **parameters: object,
    ) -> None:
        """Prepare a call.

        Args:
            method: Its name within the interface.
            reply: What the parameters of each reply are; members it does not know are ignored.
            answer: What the replies come to; without `more` there is one.
            more: Whether several replies are wanted.
            parameters: Those of the call; None leaves one at its default.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        self.message = encode_call(f"{INTERFACE}.{method}", given, more=more)
        self._more = more
        self._reply = reply
        self._answer = answer

    def answer(self, replies: Sequence[Reply]) -> T:
        """Return what all the replies say, of which there is one at least.

        Raises the error that one of them is, or NotUnderstood.
        """
        for reply in replies:
            if reply.error is not None:
                raise remote_error(reply)
        if not self._more and len(replies) > 1:
            raise NotUnderstood("several replies, where one was wanted")
        return self._answer([decoded(reply.parameters, self._reply) for reply in replies])


def decoded(text: msgspec.Raw, kind: type[R]) -> R:
    """Return the parameters of a reply, or of a part of one. Raises NotUnderstood."""
    try:
        return decode(text, kind)
    except (ValueError, RecursionError) as error:
        raise NotUnderstood(str(error)) from error


class _Described(msgspec.Struct):
    device: msgspec.Raw


class _Dumped(msgspec.Struct):
    xml: str


class _RawDevices(msgspec.Struct):
    generation: int
    devices: list[msgspec.Raw]


def status() -> Question[Status]:
    """Ask how the daemon is doing."""
    return Question("GetStatus", Status, lambda replies: replies[0])


def list_devices(capabilities: Iterable[str] | None) -> Question[DeviceList]:
    """Ask for the devices with any of the capabilities, in brief."""
    return Question(
        "List",
        DeviceList,
        lambda replies: DeviceList(
            replies[-1].generation, tuple([one for part in replies for one in part.devices])
        ),
        more=True,
        capabilities=words(capabilities),
    )


def describe(name: str) -> Question[Device]:
    """Ask for all that is known of one device."""
    return Question(
        "Describe", _Described, lambda replies: decoded(replies[0].device, Device), name=name
    )


def describe_json(name: str) -> Question[bytes]:
    """Ask for the same as JSON, as the daemon writes it."""
    return Question("Describe", _Described, lambda replies: bytes(replies[0].device), name=name)


def snapshot(
    capabilities: Iterable[str] | None, names: Iterable[str] | None = None
) -> Question[Devices]:
    """Ask for all that is known of devices."""
    return Question(
        "Snapshot",
        Devices,
        lambda replies: Devices(
            replies[-1].generation, tuple([one for part in replies for one in part.devices])
        ),
        more=True,
        capabilities=words(capabilities),
        names=words(names),
    )


def snapshot_json(names: Iterable[str] | None) -> Question[bytes]:
    """Ask for a JSON document of devices, each as the daemon writes it."""
    return Question(
        "Snapshot",
        _RawDevices,
        lambda replies: (
            b'{"generation":%d,"devices":[%b]}'
            % (
                replies[-1].generation,
                b",".join([bytes(one) for part in replies for one in part.devices]),
            )
        ),
        more=True,
        names=words(names),
    )


def dump_xml(names: Iterable[str] | None, form: Format) -> Question[str]:
    """Ask for XML."""
    return Question(
        "DumpXML",
        _Dumped,
        lambda replies: "".join([part.xml for part in replies]),
        more=True,
        names=words(names),
        format=form,
    )


def hostdev(request: HostDevRequest) -> Question[HostDev]:
    """Ask for the domain XML that hands a device to a guest."""
    return Question(
        "HostDev", HostDev, lambda replies: replies[0], **msgspec.structs.asdict(request)
    )


def fits(wanted: str, count: int) -> Question[Fits]:
    """Ask where so many of a type could be created."""
    return Question("Fits", Fits, lambda replies: replies[0], type=wanted, count=count)


def resolve(text: str) -> Question[Resolution]:
    """Ask which device is meant."""
    return Question("Resolve", Resolution, lambda replies: replies[0], text=text)


def in_use(names: Iterable[str] | None) -> Question[InUse]:
    """Ask whether devices are open."""
    return Question("InUse", InUse, lambda replies: replies[0], names=words(names))


def words(given: Iterable[str] | None) -> list[str] | None:
    """Return words as they are sent; a string is one word, not its letters."""
    return [given] if isinstance(given, str) else None if given is None else list(given)
