"""Any order of phases of two domains, beside others: what is not a domain's own is left alone."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from nodedevd.actions.requests import Create, Remove
from nodedevd.errors import NodedevError
from nodedevd.hook.devices import prepare, release
from nodedevd.hook.metadata import Wanted
from tests.support.carried import uuids
from tests.support.hook_service import Service
from tests.support.played_kernel import mdpy_parent
from tests.support.search import examples

DOMAINS, MDEVS = uuids(2, 900), uuids(3, 700)
CREATE = "/sys/devices/virtual/mdpy/mdpy/mdev_supported_types/mdpy-vga/create"
ACTS = st.one_of(
    st.tuples(st.just("prepare"), st.sampled_from(DOMAINS), st.sets(st.sampled_from(MDEVS))),
    st.tuples(st.just("release"), st.sampled_from(DOMAINS), st.just(frozenset[str]())),
    st.tuples(
        st.sampled_from(["other", "client", "forced", "open", "close"]),
        st.sampled_from(MDEVS),
        st.just(frozenset[str]()),
    ),
)


def path_of(service: Service, uuid: str) -> str | None:
    """Return the path of an mdev, None if there is none."""
    found = [path for path in service.host.kernel.mdev.types if path.endswith(uuid)]
    return found[0] if found else None


def owned(service: Service, domain: str) -> set[str]:
    """Return the mdevs that were made for a domain."""
    records = service.host.context.records.all().values()
    found = {one.subject for one in records if (one.origin, one.owner) == ("domain", domain)}
    return found & service.mdevs


def is_open(service: Service, uuid: str) -> bool:
    """Return whether a process has an mdev open."""
    path = path_of(service, uuid)
    return path is not None and service.host.kernel.is_open(path)


def act(service: Service, what: str, whom: str, which: frozenset[str]) -> None:
    """Do one of `ACTS`; what the hook may not do is refused."""
    kernel = service.host.kernel
    foreign = service.mdevs - owned(service, whom)
    path = path_of(service, whom)
    match what:
        case "prepare":
            wanted = [Wanted(Create(type="mdpy-vga", uuid=one, domain=whom), None) for one in which]
            try:
                prepare(service, whom, wanted)
            except NodedevError:
                assert all(is_open(service, one) for one in owned(service, whom))
            else:
                assert which <= service.mdevs
            assert foreign <= service.mdevs
        case "release":
            left = release(service, whom, seconds=0)
            assert all(is_open(service, one) for one in owned(service, whom))
            assert len(left) == len(owned(service, whom))
            assert foreign <= service.mdevs
        case "other" if path is None:
            with suppress(OSError):  # there may be no room
                kernel.write(CREATE, whom)
        case "client":
            with suppress(NodedevError):
                service.host.act(Create(type="mdpy-vga", uuid=whom))
        case "forced" if path is not None and not kernel.is_open(path):
            service.host.act(Remove(name=whom, force=True))
        case "open" if path is not None and not kernel.is_open(path):
            kernel.open(path)
        case "close" if path is not None and kernel.is_open(path):
            kernel.close(path)


@pytest.mark.exhaustive
@given(acts=st.lists(ACTS, max_size=12))
@settings(max_examples=examples(0.5), deadline=None)
def test_only_what_a_domain_owns_is_removed(
    acts: list[tuple[str, str, frozenset[str]]],
) -> None:
    """And all of it, but for what a process has open."""
    with TemporaryDirectory() as directory:
        service = Service(Path(directory))
        mdpy_parent(service.host.kernel)
        for one in acts:
            act(service, *one)
