"""ap_card: one crypto adapter of an IBM Z."""

from __future__ import annotations

import errno

import pytest

from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.ap_card import ApCard
from nodedevd.tree.read import read_device, scan
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree
from tests.support.xml import attributes, find, native_xml, validate

PATH = "/sys/devices/ap/card0a"


def card(tree: Tree, name: str = "card0a", *, kind: str | None = "CEX7C") -> str:
    """Make an adapter; without a type, one that has no driver."""
    return tree.device(
        f"/sys/devices/ap/{name}",
        bus="ap",
        driver="cex4card" if kind else None,
        attributes={"type": kind} if kind else None,
    )


def test_card_shows_its_number_and_type(tree: Tree) -> None:
    """The number is the name's, in hex."""
    card(tree)
    found = scan(Sysroot()).lookup("ap_card0a")
    assert (found.path, found.driver, found.errors) == (PATH, "cex4card", ())
    assert found.capability(ApCard) == ApCard(adapter=10, card_type="CEX7C")
    text = native_xml(found)
    validate(text)
    assert text.partition("  <capability")[2] == (
        " type='ap_card'>\n"
        "    <ap-adapter>0x0a</ap-adapter>\n"
        "    <type>CEX7C</type>\n"
        "  </capability>\n"
        "</device>\n"
    )


def test_card_without_a_driver_has_no_type(tree: Tree) -> None:
    """It is an adapter all the same."""
    card(tree, "cardff", kind=None)
    found = scan(Sysroot()).lookup("ap_cardff")
    assert (found.capability(ApCard), found.errors) == (ApCard(adapter=255, card_type=None), ())
    validate(native_xml(found))


@pytest.mark.parametrize("name", ["card", "carda", "card0a0", "cardzz", "card-1", "xcard0a"])
def test_other_name_is_no_card(tree: Tree, name: str) -> None:
    """The kernel gives every adapter two hex digits."""
    card(tree, name)
    assert scan(Sysroot()).names == ("computer",)


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, "refused"), (errno.EIO, "unreadable")])
def test_type_that_cannot_be_read_is_unknown(tree: Tree, number: int, code: str) -> None:
    """The other values are read."""
    card(tree)
    found = scan(FaultySysroot(errors={f"{PATH}/type": number})).lookup("ap_card0a")
    assert found.capability(ApCard) == ApCard(adapter=10, card_type=None)
    assert [(one.attribute, one.code) for one in found.errors] == [("type", code)]
    root = validate(native_xml(found))
    assert attributes(find(root, "capability/type")) == {"state": "unknown"}


def test_card_removed_while_read_is_no_device(tree: Tree) -> None:
    """A card removed at any point of its read is dropped, without an error."""
    for at in (1, 2, 3):  # itself, type, driver
        card(tree)
        sysroot = FaultySysroot(vanishing=PATH, at=at)
        assert read_device(sysroot, PATH, ["/sys/bus/ap/devices"]) is None
