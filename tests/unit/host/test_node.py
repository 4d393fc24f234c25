"""node: an attribute is absent, unreadable, or its device is gone; no other is affected."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.errors import NodeGone
from nodedevd.host.faults import Fault
from nodedevd.host.node import Node, parse_number
from nodedevd.host.sysroot import Sysroot
from nodedevd.text import printable_path
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree

PATH = "/sys/devices/virtual/mtty/mtty"
REMOVED = [errno.ENOENT, errno.ENODEV]


@pytest.fixture
def node(tree: Tree) -> Node:
    """Return the directory of a device with a few attributes."""
    tree.device(PATH, class_="mtty", attributes={"text": "some text", "number": 24, "hex": "0x1f"})
    tree.file(f"{PATH}/group/inner", "inside\n")
    return Node(Sysroot(), PATH)


def faulty(number: int, *names: str) -> Node:
    """Open the device on a host where these entries fail."""
    return Node(FaultySysroot(errors={f"{PATH}/{name}": number for name in names}), PATH)


def test_directory_of_a_device_tells_what_it_is(node: Node) -> None:
    """Its kernel name and subsystem; given subsystems are not looked up."""
    assert (node.sysname, node.subsystem) == ("mtty", "mtty")
    assert node.entries >= {"text", "number", "group", "subsystem", "uevent"}
    sysroot = FaultySysroot()
    assert Node(sysroot, PATH, subsystem="other").subsystem == "other"
    assert sysroot.reads == [PATH]


def test_attribute_is_text_without_its_last_newline(node: Node, tree: Tree) -> None:
    """One newline is the kernel's; more are the driver's."""
    tree.attributes(PATH, {"text": b"two lines\n\n"})
    assert node.read("text") == "two lines\n"
    assert node.read("group/inner") == "inside"
    assert node.read_bytes("text") == b"two lines\n\n"
    assert node.read_bytes("text", size=3) == b"two"
    assert node.faults == []


def test_attribute_that_was_not_listed_is_not_opened(tree: Tree) -> None:
    """The listing answers for it."""
    tree.device(PATH)
    sysroot = FaultySysroot()
    node = Node(sysroot, PATH)
    assert node.read("text") is None
    assert node.link("driver") is None
    assert node.names("group") == []
    assert not node.has("remove")
    assert (sysroot.reads, node.faults) == ([PATH], [])


def test_promised_attribute_that_is_absent_or_empty_is_a_fault(node: Node, tree: Tree) -> None:
    """The ABI has it always, and with something in it."""
    tree.attributes(PATH, {"text": b"\n"})
    assert node.read("absent", promised=True) is None
    assert node.read("group/absent", promised=True) is None
    assert node.read("text", promised=True) is None
    assert node.faults == [
        Fault("absent", "absent", ""),
        Fault("group/absent", "absent", ""),
        Fault("text", "malformed", "empty"),
    ]


@pytest.mark.parametrize(
    ("number", "code", "detail"),
    [
        (errno.EACCES, "refused", "EACCES"),
        (errno.EPERM, "refused", "EPERM"),
        (errno.EIO, "unreadable", "EIO: Input/output error"),
        (errno.ENODEV, "unreadable", "ENODEV: No such device"),
        (errno.EISDIR, "malformed", "EISDIR"),
        (errno.ELOOP, "malformed", "ELOOP"),
    ],
)
def test_read_that_fails_is_a_fault_with_its_reason(
    node: Node, number: int, code: str, detail: str
) -> None:
    """Of a file, a link and a directory alike."""
    failing = faulty(number, "text", "subsystem", "group")
    assert failing.subsystem is None
    assert failing.read("text") is None
    assert failing.names("group") == []
    assert [(fault.attribute, fault.code, fault.detail) for fault in failing.faults] == [
        (name, code, detail) for name in ("subsystem", "text", "group")
    ]
    assert failing.read("number") == "24"


def test_attribute_that_went_alone_is_absent(node: Node) -> None:
    """The device stays; only a promise would make it a fault."""
    failing = faulty(errno.ENOENT, "text")
    assert failing.read("text") is None
    assert failing.faults == []
    assert failing.read("text", promised=True) is None
    assert failing.faults == [Fault("text", "absent", "")]


@pytest.mark.parametrize("number", REMOVED)
@pytest.mark.parametrize("what", ["read", "link", "names"])
def test_read_of_a_device_that_went_raises(node: Node, tree: Tree, what: str, number: int) -> None:
    """For every first read after the removal, and for both errnos."""
    name = {"read": "text", "link": "subsystem", "names": "group"}[what]
    sysroot = FaultySysroot(errors={f"{PATH}/{name}": number})
    failing = Node(sysroot, PATH, subsystem="mtty")
    tree.remove(PATH)
    with pytest.raises(NodeGone) as caught:
        getattr(failing, what)(name)
    assert caught.value.path == PATH


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO])
def test_directory_that_is_gone_raises(node: Node, number: int) -> None:
    """An error of its directory is its only fault."""
    with pytest.raises(NodeGone):
        Node(FaultySysroot(errors={PATH: number}), PATH)


def test_directory_that_is_refused_has_no_entries(node: Node) -> None:
    """The device is present, without any attribute."""
    failing = Node(FaultySysroot(errors={PATH: errno.EACCES}), PATH)
    assert failing.entries == {"subsystem"}  # every device has one
    assert failing.faults == [Fault("", "refused", "EACCES")]


def test_number_is_read_in_its_base(node: Node) -> None:
    """Decimal as it stands, hexadecimal with or without 0x."""
    assert node.read_number("number") == 24
    assert node.read_number("hex", base=16) == 0x1F
    assert node.read_number("number", base=16) == 0x24
    assert node.read_number("absent") is None
    assert node.faults == []


def test_text_that_is_no_number_is_a_short_fault(node: Node, tree: Tree) -> None:
    """The fault repeats only the beginning of the text."""
    tree.attributes(PATH, {"number": "x" * 1000})
    assert node.read_number("number") is None
    assert node.faults == [Fault("number", "malformed", "x" * 80)]


def test_link_tells_path_and_name(node: Node, tree: Tree) -> None:
    """Whether or not something is there."""
    tree.link(f"{PATH}/driver", "../../../../bus/mdev/drivers/gone")
    node = Node(Sysroot(), PATH)
    assert node.link("subsystem") == "/sys/class/mtty"
    assert node.link("driver") == "/sys/bus/mdev/drivers/gone"
    assert node.link_name("driver") == "gone"
    assert node.link_name("absent") is None
    assert node.link("text") is None
    assert node.faults == [Fault("text", "malformed", "not a link")]


def test_names_of_a_directory_are_sorted(node: Node, tree: Tree) -> None:
    """The kernel lists names in no particular order."""
    for name in ("b", "a", "C"):
        tree.file(f"{PATH}/group/{name}")
    assert node.names("group") == ["C", "a", "b", "inner"]


@pytest.mark.parametrize(
    ("text", "base", "number"),
    [
        ("0", 10, 0),
        ("007", 10, 7),
        ("9223372036854775807", 10, 2**63 - 1),
        ("ff", 16, 255),
        ("0XfF", 16, 255),
        ("9223372036854775808", 10, None),
        ("", 10, None),
        ("0" * 20, 10, None),
        ("0x", 16, None),
        ("0x0x1", 16, None),
        ("0x10", 10, None),
        ("-1", 10, None),
        ("+1", 10, None),
        ("1_0", 10, None),
        (" 1", 10, None),
        ("1\n", 10, None),
        ("\u0661", 10, None),
        ("\u00b2", 10, None),
        ("1.0", 10, None),
        ("1e3", 10, None),
    ],
)
def test_number_is_as_the_kernel_prints_it(text: str, base: int, number: int | None) -> None:
    """Only digits; other text that Python accepts is not a number."""
    assert parse_number(text, base) == number


@given(st.text(), st.sampled_from([10, 16]))
def test_any_text_is_a_number_or_none(text: str, base: int) -> None:
    """It never raises, and is never negative."""
    number = parse_number(text, base)
    assert number is None or 0 <= number < 2**63


@given(st.binary(max_size=50))
def test_any_file_name_can_be_shown(name: bytes) -> None:
    """The result can be encoded; UTF-8 stays the same."""
    text = printable_path(os.fsdecode(name))
    text.encode()
    try:
        assert text == name.decode()
    except UnicodeDecodeError:
        assert "\\x" in text
