"""What wait refuses at once, on sample hosts."""

from __future__ import annotations

import time

import pytest

from nodedevd.cli.embedded import Embedded
from nodedevd.cli.never import NeverTrue, Reason, never_available, never_named, refusing
from nodedevd.client import available
from nodedevd.model.device import Device
from nodedevd.questions.vgpus import vgpu_functions
from tests.support.hosts import HOSTS, host_file
from tests.support.search import cases


def devices(host: str) -> dict[str, Device]:
    """Return the devices of a sample host."""
    return {device.name: device for device in Embedded(str(host_file(host))).tree}


def lasting(reason: Reason, *found: Device) -> str | None:
    """Return the reason that two looks find, with the time between them that it needs."""
    named = {device.name: device for device in found}
    assert reason(named) is None
    with pytest.MonkeyPatch.context() as patch:
        later = time.monotonic() + 1
        patch.setattr("nodedevd.cli.never.time.monotonic", lambda: later)
        return reason(named)


@pytest.mark.parametrize("host", cases(HOSTS))
def test_device_of_a_host_is_never_refused(host: str) -> None:
    """Every name, path and offered type of every sample host is one to wait for."""
    for name, device in devices(host).items():
        assert never_named(name)({}) is None
        assert never_named(device.path or name)({}) is None or not device.active
    for device in devices(host).values():
        for function in vgpu_functions([device]):
            for one in function.offers:
                assert lasting(never_available(device.name, one.id, 1), device) is None


def test_types_that_are_being_registered_are_waited_for() -> None:
    """A type that is missing at first, and there a moment later, is no reason."""
    host = devices("vgpu-pf")
    condition = refusing(available("card", "nvidia-999"), never_available("card", "nvidia-999", 1))
    card = {"card": host["pci_0000_02_00_0"]}
    assert not condition.reached(card)
    assert not condition.reached({})
    assert not condition.reached(card)


def test_function_with_vendor_vfio_holds_one_vgpu() -> None:
    """Whatever its driver lists."""
    host = devices("vgpu-vendor-vfio")
    function = next(one for one in vgpu_functions(host.values()) if one.framework != "mdev")
    device = host[function.device]
    found = lasting(never_available(function.device, "nvidia-1", 2), device)
    assert found == f"{function.device} holds one vGPU at most"
    assert lasting(never_available(function.device, "nvidia-1", 1), device) is None


def test_count_above_the_limit_of_the_type_is_refused() -> None:
    """`max_instance` of the description is the limit of an empty card."""
    host = devices("vgpu-pf")
    card = host["pci_0000_02_00_0"]
    (function,) = vgpu_functions([card])
    offer = function.offers[0]
    assert offer.facts is not None
    most = offer.facts.max_instances
    assert most is not None
    assert lasting(never_available(card.name, offer.id, most), card) is None
    found = lasting(never_available(card.name, offer.id, most + 1), card)
    assert found == f"a card holds {most} of {offer.id} at most"


def test_reason_is_part_of_the_error() -> None:
    """It says what to correct."""
    condition = refusing(available("x y", "t"), never_named("x y"))
    with pytest.raises(NeverTrue, match="can never come true: 'x y' is no device name"):
        condition.reached({})
