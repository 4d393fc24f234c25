"""ap_queue: one domain of a crypto adapter."""

from __future__ import annotations

import pytest

from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.ap_queue import ApQueue
from nodedevd.tree.read import read_device, scan
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree
from tests.support.xml import native_xml, validate

CARD = "/sys/devices/ap/card0a"
PATH = f"{CARD}/0a.004b"


def queue(tree: Tree, name: str = "0a.004b") -> str:
    """Make a queue of an adapter."""
    tree.device(CARD, bus="ap")
    return tree.device(f"{CARD}/{name}", bus="ap", driver="vfio_ap")


def test_queue_shows_adapter_and_domain(tree: Tree) -> None:
    """Both are the name's, in hex; the adapter is the queue's parent."""
    queue(tree)
    found = scan(Sysroot()).lookup("ap_0a_004b")
    assert (found.path, found.parent, found.driver) == (PATH, "ap_card0a", "vfio_ap")
    assert (found.types, found.errors) == (("ap_queue",), ())
    assert found.capability(ApQueue) == ApQueue(adapter=0x0A, domain=0x4B)
    text = native_xml(found)
    validate(text)
    assert text.partition("  <capability")[2] == (
        " type='ap_queue'>\n"
        "    <ap-adapter>0x0a</ap-adapter>\n"
        "    <ap-domain>0x004b</ap-domain>\n"
        "  </capability>\n"
        "</device>\n"
    )


@pytest.mark.parametrize("name", ["0a.4b", "a.004b", "0a.004b0", "0a004b", "0a.zzzz", "-a.004b"])
def test_other_name_is_no_queue(tree: Tree, name: str) -> None:
    """The kernel gives an adapter two hex digits, a domain four."""
    queue(tree, name)
    assert scan(Sysroot()).names == ("ap_card0a", "computer")


def test_queue_removed_while_read_is_no_device(tree: Tree) -> None:
    """A queue removed at any point of its read is dropped, without an error."""
    for at in (1, 2):  # itself, driver
        queue(tree)
        sysroot = FaultySysroot(vanishing=PATH, at=at)
        assert read_device(sysroot, PATH, ["/sys/bus/ap/devices"]) is None
