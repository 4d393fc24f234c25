"""hostdev with managed_by_hook: both parts of a domain's XML, as the hook reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lxml import etree

import nodedevd
from nodedevd.actions.requests import Create
from nodedevd.errors import InvalidParameter, NoSuchDevice, NoSuchType, NotAssignable
from nodedevd.hook.domain import read_domain
from nodedevd.hook.metadata import Wanted, read_metadata
from tests.support.ctl import on as ctl_on
from tests.support.hostdev_cases import on
from tests.support.libvirt_domain import UUID, domain_xml

MDEV = "4b20d080-1b54-4048-85b3-a6a62d165c01"
EXISTS = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
FUNCTION = "0000:26:00.7"
SCHEMA = etree.RelaxNG(
    etree.parse(Path(nodedevd.__file__).with_name("formats") / "domain-metadata.rng")
)


def managed(host: str, name: str, **options: Any) -> tuple[Wanted, ...]:
    """Return what the hook makes of a domain with both parts, which the schema accepts."""
    found = on(host, name, managed_by_hook=True, **options)
    assert found.metadata is not None
    SCHEMA.assertValid(etree.fromstring(found.metadata))
    return read_metadata(read_domain(domain_xml(found.metadata, found.xml)))


@pytest.mark.parametrize("name", [MDEV, MDEV.upper(), f"mdev_{MDEV.replace('-', '_')}"])
@pytest.mark.parametrize("places", [None, ["0000:08:00.0"], ["pci_0000_08_00_4", "0000:08:00.5"]])
def test_mdev_is_made_by_the_hook(name: str, places: list[str] | None) -> None:
    """From the devices that are named, or from anywhere."""
    wanted = Create(type="A2-4Q", uuid=MDEV, names=places, domain=UUID)
    assert managed("vgpu-sriov", name, type="A2-4Q", places=places) == (Wanted(wanted, None),)


def test_mdev_that_exists_is_no_hindrance() -> None:
    """The XML of a domain that runs can be printed again; it is as if the mdev were not there."""
    (found,) = managed("vgpu-sriov", EXISTS, type="A2-4Q")
    assert found.request.uuid == EXISTS


def test_kernel_name_of_a_parent_is_a_place() -> None:
    """As `create` takes it."""
    (found,) = managed("samples", MDEV, type="mtty-1", places=["mtty"])
    assert found.request.names == ["mtty"]


@pytest.mark.parametrize("type_", ["L40S-2Q", "1148", "NVIDIA L40S-2Q"])
def test_function_becomes_a_vgpu_by_the_hook(type_: str) -> None:
    """It needs no profile before, and libvirt must not bind it to vfio-pci."""
    wanted = Create(type=type_, names=[FUNCTION], domain=UUID)
    assert managed("vgpu-vendor-vfio", FUNCTION, type=type_) == (Wanted(wanted, FUNCTION),)
    with pytest.raises(NotAssignable):
        on("vgpu-vendor-vfio", FUNCTION)


def test_odd_words_are_escaped() -> None:
    """A type may have any name if the model is given, for another host."""
    (found,) = managed("samples", MDEV, type="<'\"&>", model="vfio-pci")
    assert found.request.type == "<'\"&>"


@pytest.mark.parametrize(
    ("host", "name", "options", "error", "text"),
    [
        ("vgpu-sriov", MDEV, {}, InvalidParameter, "is needed with managed_by_hook"),
        ("vgpu-sriov", MDEV, {"type": "A2-5Q"}, NoSuchType, "A2-5Q"),
        ("vgpu-sriov", MDEV, {"type": "A2-4Q", "places": ["x"]}, NoSuchDevice, "'x'"),
        ("vgpu-sriov", "0000:08:00.7", {"type": "A2-4Q"}, NotAssignable, "no vendor VFIO"),
        ("vgpu-vendor-vfio", FUNCTION, {"type": "L40S-5Q"}, NoSuchType, "L40S-2Q"),
        ("vgpu-vendor-vfio", MDEV, {"type": "L40S-2Q"}, NotAssignable, "without an mdev"),
        (
            "vgpu-vendor-vfio",
            FUNCTION,
            {"type": "L40S-2Q", "places": [FUNCTION]},
            InvalidParameter,
            "leave it out",
        ),
    ],
)
def test_what_the_hook_could_not_make_is_refused(
    host: str, name: str, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """Before the domain is written."""
    with pytest.raises(error, match=text):
        on(host, name, managed_by_hook=True, **options)


def test_places_are_for_what_the_hook_makes() -> None:
    """They mean nothing for an mdev that exists."""
    with pytest.raises(InvalidParameter, match="needs managed_by_hook"):
        on("vgpu-sriov", EXISTS, places=["0000:08:00.0"])


def test_without_the_hook_there_is_no_metadata() -> None:
    """The answer is as before."""
    assert on("vgpu-sriov", EXISTS).metadata is None


# -- the command --------------------------------------------------------------------------------

BOTH = f"""\
<metadata>
  <nodedevd:managed xmlns:nodedevd='urn:nodedevd:domain:1'>
    <nodedevd:mdev uuid='{MDEV}' type='A2-4Q'>
      <nodedevd:from device='0000:08:00.0'/>
    </nodedevd:mdev>
  </nodedevd:managed>
</metadata>
<devices>
  <hostdev mode='subsystem' type='mdev' model='vfio-pci'>
    <source>
      <address uuid='{MDEV}'/>
    </source>
  </hostdev>
</devices>
"""


def test_command_prints_both_parts() -> None:
    """Each where it belongs in a domain; in JSON each by itself."""
    words = f"hostdev --managed-by-hook {MDEV} --type A2-4Q --from 0000:08:00.0".split()
    assert ctl_on("vgpu-sriov").out(*words) == BOTH
    found = ctl_on("vgpu-sriov").json(*words, "--json")
    assert found["metadata"].startswith("<nodedevd:managed ")
    assert found["xml"].startswith("<hostdev ")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (f"--managed-by-hook {MDEV}", "--managed-by-hook needs --type"),
        (f"--from x {EXISTS}", "--from needs --managed-by-hook"),
        (f"--type A2-4Q {EXISTS}", "--type and --arch need --not-created"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(words: str, text: str) -> None:
    """With what is missing."""
    done = ctl_on("vgpu-sriov").run("hostdev", *words.split(), status=2)
    assert text in done.stderr
