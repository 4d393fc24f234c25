"""Vgpus that hooks make for domains: whose they are, and that a domain takes only its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from nodedevd.actions import create, remove, start, stop
from nodedevd.actions.ownership import Origin
from nodedevd.actions.plan import Plan
from nodedevd.actions.requests import Create, ForDomain, Remove, Start, Stop
from nodedevd.errors import (
    Changed,
    Conflict,
    DeviceInUse,
    InvalidParameter,
    MadeByOther,
    NodedevError,
    OwnedByOther,
)
from tests.support.carried import Carried, facts_of, tree_of, uuids
from tests.support.played_kernel import PlayedKernel, mtty_parent, small_card, vendor_card
from tests.support.trees import Tree

UUID, DEFINED, VM, OTHER_VM = uuids(4, 100)


class Host(Carried):
    """A host with mtty, a definition, and a card with vendor VFIO."""

    def __init__(self, directory: Path) -> None:
        super().__init__(PlayedKernel(Tree(directory)))
        self.mtty = mtty_parent(self.kernel, 4)
        self.function, self.free = vendor_card(self.kernel, small_card(2))
        path = self.kernel.tree.definition("mtty", DEFINED, "mtty-1")
        self.texts = {("mtty", DEFINED): Path(self.kernel.tree.at(path)).read_text()}

    def plan(self, action: Any, request: ForDomain) -> Plan:
        """Plan a change."""
        facts = facts_of(self.kernel, self.records, definitions=self.texts)
        made: Plan = action.plan(tree_of(self.kernel), facts, request)
        return made

    def create(self, **given: Any) -> Plan:
        """Create an mdev, unless it is there."""
        found = self.plan(create, Create(type="mtty-1", uuid=UUID, **given))
        self.do(found)
        return found

    def set_profile(self, **given: Any) -> Plan:
        """Set the profile of a function, unless it has it."""
        found = self.plan(create, Create(type="1", names=[self.function], **given))
        self.do(found)
        return found

    def start(self, **given: Any) -> Plan:
        """Start the definition, unless it runs."""
        found = self.plan(start, Start(name=DEFINED, **given))
        self.do(found)
        return found

    def remove(self, name: str = UUID, **given: Any) -> Plan:
        """Plan a removal."""
        return self.plan(remove, Remove(name=name, **given))

    def stop(self, **given: Any) -> Plan:
        """Plan a stop of the definition."""
        return self.plan(stop, Stop(name=DEFINED, **given))

    def taken(self, name: str, **given: Any) -> bool:
        """Return whether a removal would take a device away."""
        return bool(self.remove(name, **given).steps)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return the host."""
    return Host(tmp_path)


MADE: tuple[tuple[str, Callable[..., Plan]], ...] = (
    (UUID, Host.create),
    (DEFINED, Host.start),
    ("", Host.set_profile),
)


@pytest.mark.parametrize(("name", "make"), MADE, ids=["create", "start", "profile"])
def test_what_a_hook_makes_is_its_domains(host: Host, name: str, make: Callable[..., Plan]) -> None:
    """By origin and owner; the domain alone gets it again and takes it away."""
    name = name or host.function
    [record] = make(host, domain=VM.upper()).records
    assert (record.origin, record.owner) == ("domain", VM)
    assert make(host, domain=VM).steps == ()
    refused: list[dict[str, Any]] = [
        {"domain": OTHER_VM},
        {"domain": OTHER_VM, "force": True},
        {"owner": VM},
        {},
    ]
    for given in refused:
        with pytest.raises((MadeByOther, OwnedByOther)):
            host.remove(name, **given)
        with pytest.raises((MadeByOther, OwnedByOther, Conflict)):
            make(host, **given)
    assert host.taken(name, force=True)
    host.do(host.remove(name, domain=VM))
    assert host.records == {}


@pytest.mark.parametrize("force", [None, True])
@pytest.mark.parametrize("origin", ["client", "definition", "layout", "domain"])
def test_domain_never_takes_what_has_another_origin(
    host: Host, origin: Origin, force: bool | None
) -> None:
    """Also by force, and if its uuid is the owner's name; another domain's neither."""
    host.create(owner=VM)
    owner = OTHER_VM if origin == "domain" else VM
    host.records[UUID] = replace(host.records[UUID], origin=origin, owner=owner)
    with pytest.raises(OwnedByOther if origin == "domain" else MadeByOther) as raised:
        host.remove(domain=VM, force=force)
    assert getattr(raised.value, "origin", "domain") == origin


@pytest.mark.parametrize("force", [None, True])
def test_domain_never_takes_what_was_not_made_here(host: Host, force: bool | None) -> None:
    """libvirt's, mdevctl's, or that of a script; it is there for the domain as it is."""
    host.kernel.write(f"{host.mtty}/mdev_supported_types/mtty-1/create", UUID)
    found = host.create(domain=VM)
    assert (found.steps, found.records) == ((), ())
    with pytest.raises(MadeByOther):
        host.remove(domain=VM, force=force)


def test_domain_gets_no_device_that_a_client_may_remove(host: Host) -> None:
    """Nor a client one that vanishes with the domain, also under its owner's name."""
    host.create(owner=VM)
    with pytest.raises(MadeByOther):
        host.create(domain=VM)
    host.do(host.remove(owner=VM))
    host.create(domain=VM)
    with pytest.raises(MadeByOther):
        host.create(owner=VM)
    assert host.create(owner=VM, force=True).steps == ()


def test_force_of_a_domain_is_for_what_is_open(host: Host) -> None:
    """It is its own device."""
    host.create(domain=VM)
    host.kernel.open(f"{host.mtty}/{UUID}")
    with pytest.raises(DeviceInUse):
        host.remove(domain=VM)
    assert host.taken(UUID, domain=VM, force=True)


def test_later_device_of_the_same_place_is_not_the_domains(host: Host) -> None:
    """A late release removes nothing of the next VM."""
    host.set_profile(domain=VM)
    generation = host.records[host.function].generation
    host.do(host.remove(host.function, domain=VM))
    host.set_profile(domain=OTHER_VM)
    with pytest.raises(OwnedByOther):
        host.remove(host.function, domain=VM)
    with pytest.raises(Changed):
        host.remove(host.function, domain=OTHER_VM, generation=generation + 1)


def test_release_twice_is_success(host: Host) -> None:
    """The record ends with the first, a defined mdev is inactive, a function has no profile."""
    host.start(domain=VM)
    host.set_profile(domain=VM)
    for name in (DEFINED, host.function):
        host.do(host.remove(name, domain=VM))
        assert host.remove(name, domain=VM).steps == ()


def test_stop_is_for_its_own_domain(host: Host) -> None:
    """A definition that a hook has started is not stopped by a client, and the other way round."""
    host.start(domain=VM)
    for given in ({}, {"owner": VM}, {"domain": OTHER_VM}):
        with pytest.raises((MadeByOther, OwnedByOther)):
            host.stop(**given)
    host.do(host.stop(domain=VM))
    host.start()
    with pytest.raises(MadeByOther):
        host.stop(domain=VM)
    host.do(host.stop())


@pytest.mark.parametrize("kind", [Create, Remove, Start, Stop])
@pytest.mark.parametrize(
    "given",
    [{"domain": "vm-7"}, {"domain": ""}, {"domain": f"{VM}\n"}, {"domain": VM, "owner": "x"}],
)
def test_domain_is_a_uuid_and_the_only_owner(kind: Any, given: dict[str, str]) -> None:
    """A name of a domain is used again, its uuid is not."""
    about = {"type": "mtty-1"} if kind is Create else {"name": UUID}
    with pytest.raises(InvalidParameter) as raised:
        kind(**about, **given)
    assert isinstance(raised.value, NodedevError)
    assert raised.value.parameter == "domain"
