"""org.nodedevd.Devices.varlink against the code: methods, replies, types, words and errors."""

from __future__ import annotations

from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest
from varlink import scanner

from nodedevd.client.watching import Event
from nodedevd.drawing.request import Drawing
from nodedevd.errors import REPLIED
from nodedevd.host.faults import Fault
from nodedevd.host.processes import Process, Vm
from nodedevd.kinds.shared.vfio import VfioDevice
from nodedevd.kinds.shared.vgpu_types import TypeFacts
from nodedevd.model.brief import DeviceList, Entry
from nodedevd.model.device import Device
from nodedevd.model.layout import AwaitedCard, CardLayout, Problem
from nodedevd.model.listing import Devices, XmlDocument
from nodedevd.model.status import (
    DeviceFault,
    LayoutCounts,
    LayoutStatus,
    ScanTimes,
    StateCounts,
    Status,
    Tally,
    UnansweredRead,
)
from nodedevd.model.store import Store
from nodedevd.questions.fits import CardType, Fits, Place, Types
from nodedevd.questions.hostdev.request import HostDev
from nodedevd.questions.in_use import InUse, Use
from nodedevd.questions.resolve import Resolution, Resolved
from nodedevd.server.conversation import Peer
from nodedevd.server.encodings import Encodings
from nodedevd.server.varlink.methods import DevicesInterface
from nodedevd.server.varlink.parameters import DumpXmlParameters, WatchParameters
from nodedevd.server.varlink.service import Interface, Service
from nodedevd.socket_paths import INTERFACE
from nodedevd.varlink import Call, Malformed
from tests.support.answers import without_waiting
from tests.support.freshness import FakeFreshness
from tests.support.hosts import snapshot_of
from tests.support.idl import drift, of_kind

TYPES: tuple[type[msgspec.Struct], ...] = (
    *(CardType, Device, DeviceFault, Entry, Fault, Place, Process, Resolved, ScanTimes),
    *(StateCounts, TypeFacts, UnansweredRead, Use, VfioDevice, Vm),
    *(AwaitedCard, CardLayout, LayoutCounts, Problem, LayoutStatus),
)
REPLIES: dict[str, type[msgspec.Struct]] = {
    "GetStatus": Status,
    "List": DeviceList,
    "Describe": Devices,
    "DumpXML": XmlDocument,
    "HostDev": HostDev,
    "Snapshot": Devices,
    "Draw": Drawing,
    "Fits": Fits,
    "Types": Types,
    "Resolve": Resolution,
    "InUse": InUse,
    "Watch": Event,
}
"""What the client decodes; the server encodes the same structs, or bytes."""
UNREAD = {"Describe.generation", "DumpXML.generation"}
"""Fields of replies that the client ignores."""


@pytest.fixture(scope="module")
def served() -> Interface:
    """Return the interface as it is served."""
    store = Store(snapshot_of("vgpu-pf"))

    def no_status(tally: Tally) -> Status:
        raise NotImplementedError

    return DevicesInterface(Encodings(store), no_status, FakeFreshness()).interface()


@pytest.fixture(scope="module")
def members(served: Interface) -> dict[str, Any]:
    """Return the members of the text, as the reference implementation parses it."""
    parsed = scanner.Interface(served.description)
    assert parsed.name == served.name == INTERFACE
    return dict(parsed.members)


def test_every_method_is_served_with_the_parameters_of_the_text(
    members: dict[str, Any], served: Interface
) -> None:
    """Names, types, and the words that a parameter accepts."""
    described = of_kind(members, scanner._Method)
    assert set(described) == set(served.methods)
    assert [
        line
        for name, method in served.methods.items()
        for line in drift(name, described[name].in_type, method.parameters)
    ] == []


def test_every_reply_has_the_fields_of_the_text(members: dict[str, Any]) -> None:
    """For each method the struct that a client decodes."""
    described = of_kind(members, scanner._Method)
    assert set(described) == set(REPLIES)
    assert [
        line
        for name, struct in REPLIES.items()
        for line in drift(name, described[name].out_type, struct, UNREAD)
    ] == []


def test_encoded_replies_have_the_fields_of_the_text(
    members: dict[str, Any], served: Interface
) -> None:
    """Those that the server joins of encoded pieces, not of a struct."""
    service = Service("V", "P", "1", "", [served], INTERFACE)

    def reply(method: str, parameters: bytes) -> set[str]:
        call = Call(f"{INTERFACE}.{method}", msgspec.Raw(parameters), more=True)
        return set(msgspec.json.decode(without_waiting(service.call(call, Peer(1, 0)))))

    for method in ("List", "Snapshot", "DumpXML"):
        assert reply(method, b"{}") == set(members[method].out_type.fields)
    assert reply("Describe", b'{"name":"computer"}') == set(members["Describe"].out_type.fields)
    assert reply("Watch", b'{"content":"json"}') <= set(members["Watch"].out_type.fields)


def test_every_type_has_the_fields_of_the_text(members: dict[str, Any]) -> None:
    """A type goes by the name of its struct."""
    described = of_kind(members, scanner._Alias)
    structs = {struct.__name__: struct for struct in TYPES}
    assert set(described) == set(structs)
    assert [
        line
        for name, struct in structs.items()
        for line in drift(name, described[name].type, struct)
    ] == []


def test_drift_is_named(served: Interface) -> None:
    """A parameter that is missing, or has another type or word, is listed by its name."""
    text = served.description.replace("count: ?int", "count: ?string, most: int")
    changed = dict(scanner.Interface(text.replace("nodedevd, libvirt", "nodedevd, qemu")).members)
    methods = {name: method.parameters for name, method in served.methods.items()}
    assert sorted(drift("Fits", changed["Fits"].in_type, methods["Fits"])) == [
        "Fits.count: ?string in the text, ?int in FitsParameters",
        "Fits.most: int in the text, missing in FitsParameters",
    ]
    assert list(drift("DumpXML", changed["DumpXML"].in_type, methods["DumpXML"])) == [
        "DumpXML.format: ?(nodedevd, qemu) in the text, ?(libvirt, nodedevd) in DumpXmlParameters"
    ]


def test_words_of_the_text_have_the_order_of_the_code(members: dict[str, Any]) -> None:
    """Where the text lists the words of a parameter or field, they are the code's."""
    format_ = members["DumpXML"].in_type.fields["format"].element_type
    content = members["Watch"].in_type.fields["content"].element_type
    assert list(members["Use"].type.fields["open"].fields) == list(literal(Use, "open"))
    assert list(format_.fields) == list(literal(DumpXmlParameters, "format"))
    assert list(content.fields) == list(literal(WatchParameters, "content"))


def literal(struct: type[msgspec.Struct], field: str) -> tuple[str, ...]:
    """Return the words of a field."""
    hint = msgspec.structs.fields(struct)[struct.__struct_fields__.index(field)].type
    if get_origin(hint) is Literal:
        return get_args(hint)
    (words,) = [one for one in get_args(hint) if one is not NoneType]
    return get_args(words)


def test_every_error_is_described(members: dict[str, Any], served: Interface) -> None:
    """Errors of the registry, with their fields and types, and those of the server itself."""
    described = of_kind(members, scanner._Error)
    own = [kind for kind in REPLIED if kind.interface is None]
    service = Service("V", "P", "1", "", [served], INTERFACE)
    others = [
        service.refusal(Malformed("no JSON")),
        service.refusal(Malformed("too long", 1)),
        service.translate(RuntimeError("a defect")),
    ]
    names = {kind.__name__ for kind in own} | {one.name.rpartition(".")[2] for one in others}
    assert set(described) == names
    for kind in own:
        hints = get_type_hints(kind)
        fields = [(name, hints[name]) for name in kind.reply_fields]
        struct = msgspec.defstruct(kind.__name__, fields)
        assert list(drift(kind.__name__, described[kind.__name__].type, struct)) == []
    for error in others:
        name = error.name.rpartition(".")[2]
        assert set(error.parameters) == set(described[name].type.fields), name
