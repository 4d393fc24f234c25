"""Errors of the registry: what a daemon replies with, a client raises again."""

from __future__ import annotations

import pickle

import pytest

from nodedevd.client.errors import RemoteError, remote_error
from nodedevd.errors import (
    CONTROL_INTERFACE,
    REPLIED,
    BudgetExceeded,
    CardBusy,
    Changed,
    Conflict,
    DeviceInUse,
    DoesNotFit,
    ExpectedMore,
    InvalidParameter,
    MadeByOther,
    NodedevError,
    NoRoom,
    NoSuchDevice,
    NoSuchType,
    NotAllowed,
    NotAssignable,
    NotConfirmed,
    NotInFormat,
    NotPossible,
    OwnedByOther,
    StepFailed,
    StillWriting,
    TooManyClients,
    Vetoed,
)
from nodedevd.server.varlink.service import Service
from nodedevd.socket_paths import INTERFACE
from nodedevd.varlink import Reply, ReplyDecoder, encode_error

ERRORS: list[NodedevError] = [
    NoSuchDevice("mdev_1", ("mdev_2", "mdev_3")),
    NoSuchType("A2-4Q", ()),
    NotInFormat("net_lo", "libvirt"),
    NotAssignable("pci_1", "bridge", "it is a bridge"),
    DoesNotFit("pci_1", "display", "it has none"),
    InvalidParameter("format"),
    ExpectedMore(),
    TooManyClients(1024, 65534),
    BudgetExceeded(1 << 20, None),
    NotAllowed("create", "uid 1000 is in no group of control.toml"),
    NotPossible("pci_1", "no-driver", "it has no driver"),
    NoRoom("A2-4Q", "no card has room"),
    Conflict("mdev_1", "its UUID is taken"),
    OwnedByOther("mdev_1", "vm-7"),
    MadeByOther("mdev_1", "domain"),
    Changed("mdev_1", "it is another one"),
    DeviceInUse("mdev_1", True, "process 7, qemu, has it open"),
    CardBusy("pci_1", "a write hangs", 12.5),
    Vetoed("/etc/mdevctl.d/scripts.d/callouts/no", "not today", ("a",), ("b",)),
    StepFailed("create the mdev", "ENOSPC", "no slot is left", ("a",), ("b", "c")),
    StillWriting("remove the mdev", 10.0),
    NotConfirmed("create", "it is not in the tree", (), ("a",)),
]


def reply(name: str, parameters: object) -> Reply:
    """Return an error reply as it is decoded."""
    decoder = ReplyDecoder(1 << 16)
    decoder.feed(encode_error(name, parameters))
    decoded = decoder.next()
    assert isinstance(decoded, Reply)
    return decoded


def test_every_error_of_the_registry_is_tested() -> None:
    """A new one is put into ERRORS."""
    assert [type(error) for error in ERRORS] == list(REPLIED)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_error_arrives_as_it_was_raised(error: NodedevError) -> None:
    """Its class, its fields and its text."""
    sent = Service("V", "P", "1", "", [], INTERFACE).translate(error)
    raised = remote_error(reply(sent.name, sent.parameters))
    assert (type(raised), raised.args, str(raised)) == (type(error), error.args, str(error))


@pytest.mark.parametrize("interface", [INTERFACE, CONTROL_INTERFACE])
def test_error_of_no_interface_is_known_by_that_of_the_method(interface: str) -> None:
    """Both services reply with errors such as NoSuchDevice, each by its own name."""
    sent = Service("V", "P", "1", "", [], interface).translate(NoSuchDevice("mdev_1"))
    assert sent.name == f"{interface}.NoSuchDevice"
    assert isinstance(remote_error(reply(sent.name, sent.parameters)), NoSuchDevice)


def test_reason_of_an_invalid_parameter_is_not_sent() -> None:
    """The error is one of org.varlink.service, which has no field for it."""
    sent = Service("V", "P", "1", "", [], INTERFACE).translate(InvalidParameter("name", "is odd"))
    assert sent.name == "org.varlink.service.InvalidParameter"
    assert sent.parameters == {"parameter": "name"}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        (f"{INTERFACE}.InternalError", {}),
        (f"{INTERFACE}.Invented", {"name": "a"}),
        ("org.example.NoSuchDevice", {"name": "a", "nearest": []}),
        (f"{INTERFACE}.NoSuchDevice", {"limit": 7}),
        (f"{INTERFACE}.NoSuchDevice", {"name": 1, "nearest": []}),
        (f"{INTERFACE}.TooManyClients", {"limit": "many"}),
    ],
)
def test_error_that_is_not_known_is_raised_as_it_arrived(
    name: str, parameters: dict[str, object]
) -> None:
    """A daemon of another version may have other errors, or other fields."""
    raised = remote_error(reply(name, parameters))
    assert isinstance(raised, RemoteError)
    assert raised.error == name
    assert name in str(raised)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_error_survives_a_pickle(error: NodedevError) -> None:
    """As it does on the way from a worker process."""
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.args) == (type(error), error.args)


def test_fields_go_by_position_or_name_and_have_defaults() -> None:
    """As the type checker says."""
    error = NoSuchDevice(nearest=("b",), name="a")
    assert (error.name, error.nearest, error.args) == ("a", ("b",), ("a", ("b",)))
    assert NoSuchDevice("a").nearest == ()
