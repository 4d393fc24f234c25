"""The simulated vGPU driver keeps to what is known of NVIDIA's, and nodedevd shows it so."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from nodedevd.kinds.vgpu import Vgpu
from tests.vm.guest import vm
from tests.vm.guest.vgpusim import DEBUG, DRIVER, Function, functions

pytestmark = pytest.mark.exhaustive

L40S_24Q, L40S_16Q, L40S_24A, UNKNOWN = "1155", "1154", "1165", "77"


@pytest.fixture(scope="module")
def card() -> Iterator[list[Function]]:
    """Have four functions, of a card with room for two vGPUs of half its memory."""
    with functions() as found:
        yield found


@pytest.fixture(autouse=True)
def _empty(card: list[Function]) -> Iterator[None]:
    """Begin and end with no vGPU."""
    yield
    for function in card:
        for name in ("hang", "hold", "fail"):
            function.debug(name, 0)
        function.set("0")


def refused(function: Function, type_id: str) -> int:
    """Return the errno that a write of an id fails with."""
    with pytest.raises(OSError, match="Errno") as failure:
        function.set(type_id)
    assert failure.value.errno is not None
    return failure.value.errno


def shown(function: Function) -> Vgpu:
    """Return what nodedevd shows of a function now."""
    found = vm.described(function.name).capability(Vgpu)
    assert found is not None
    return found


def assert_shown(card: list[Function]) -> None:
    """Fail unless nodedevd shows what the driver says, as soon as it looks again."""
    for function in card:
        wanted = (function.current(), function.creatable())

        def is_shown(function: Function = function, wanted: object = wanted) -> bool:
            cap = shown(function)
            current = "0" if cap.current is None else cap.current.id
            return (current, [one.id for one in cap.creatable or ()]) == wanted

        vm.until(is_shown, f"for {function.name} to be shown as {wanted}")


def test_vgpus_share_the_memory_of_their_card(card: list[Function]) -> None:
    """Each takes of what its siblings can have, and 0 gives it back; nodedevd shows it."""
    first, second, third, _ = card
    all_types = first.creatable()
    assert len(all_types) == 23
    assert_shown(card)
    first.set(L40S_24Q)
    assert (first.current(), first.creatable()) == (L40S_24Q, [])
    # Of one size, of any series.
    assert second.creatable() == [L40S_24Q, L40S_24A]
    assert_shown(card)
    current = shown(first).current
    assert current is not None
    assert current.name == "NVIDIA L40S-24Q"
    assert refused(second, L40S_16Q) == errno.EINVAL
    second.set(f"{L40S_24A}\n")
    assert third.creatable() == []
    assert_shown(card)
    assert (refused(third, L40S_24Q), third.current()) == (errno.EINVAL, "0")
    first.set("0")
    assert first.creatable() == third.creatable() == [L40S_24Q, L40S_24A]
    assert_shown(card)
    second.set("0")
    assert third.creatable() == all_types


@pytest.mark.parametrize("type_id", [L40S_24Q, L40S_16Q, UNKNOWN, "", "12 13", "-1", "x"])
def test_id_that_cannot_be_created_resets_the_function(card: list[Function], type_id: str) -> None:
    """Whatever is on it; a function that has a type can take none, not even the same."""
    first = card[0]
    first.set(L40S_24Q)
    assert refused(first, type_id or "\n") == errno.EINVAL
    assert first.current() == "0"


def test_open_vgpu_cannot_be_changed(card: list[Function]) -> None:
    """Neither what is open through VFIO nor what the test says is; without a type none opens."""
    first = card[0]
    with pytest.raises(OSError, match="No such device"), vm.opened_vfio(first.path):
        pass
    first.set(L40S_24Q)
    with vm.opened_vfio(first.path):
        for type_id in ("0", L40S_24Q, UNKNOWN):
            assert (refused(first, type_id), first.current()) == (errno.EPERM, L40S_24Q)
    first.debug("hold", 1)
    assert (refused(first, "0"), first.current()) == (errno.EPERM, L40S_24Q)
    first.debug("hold", 0)
    first.set("0")


def test_options_live_as_long_as_their_vgpu(card: list[Function]) -> None:
    """They are lost with it, and a function that is none has none."""
    first, params = card[0], card[0].path / "nvidia/vgpu_params"
    with pytest.raises(OSError, match="Invalid argument"):
        vm.write(params, "frame_rate_limiter=0")
    first.set(L40S_24Q)
    vm.write(params, "frame_rate_limiter=0\n")
    vm.until(lambda: shown(first).params == "frame_rate_limiter=0", "for the options")
    first.set("0")
    assert params.read_text() == "\n"


def test_write_fails_as_it_is_told_to(card: list[Function]) -> None:
    """With any errno, and without an effect."""
    first = card[0]
    first.set(L40S_24Q)
    for code in (errno.EIO, errno.EAGAIN, errno.ENOSPC):
        first.debug("fail", code)
        assert (refused(first, "0"), first.current()) == (code, L40S_24Q)


def test_write_that_hangs_cannot_be_killed_and_costs_its_function_only(
    card: list[Function],
) -> None:
    """Until it is released; then it goes on, whoever is left to hear of it."""
    first, second, *_ = card
    with first.hanging():
        write = f"open({str(first.path / 'nvidia/current_vgpu_type')!r}, 'w').write({L40S_24Q!r})"
        writer = subprocess.Popen([sys.executable, "-c", write])
        vm.until(lambda: first.waiting() == 1, "for the write to hang")
        os.kill(writer.pid, signal.SIGKILL)
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(1)
        second.set(L40S_24Q)
        assert (first.current(), second.current()) == ("0", L40S_24Q)
    assert writer.wait(vm.PATIENCE_SECONDS) == -signal.SIGKILL
    assert first.current() == L40S_24Q


def test_unload_takes_everything_away(card: list[Function]) -> None:
    """VGPUs and writes that hang too; bound again, the functions are as new."""
    first, second, *_ = card
    first.set(L40S_24Q)
    second.debug("hang", 1)
    write = f"open({str(second.path / 'nvidia/current_vgpu_type')!r}, 'w').write({L40S_24Q!r})"
    writer = subprocess.Popen([sys.executable, "-c", write])
    vm.until(lambda: second.waiting() == 1, "for the write to hang")
    vm.run("modprobe", "-r", DRIVER.name)
    assert writer.wait(vm.PATIENCE_SECONDS) == 0
    assert not DEBUG.exists()
    assert not (first.path / "nvidia").exists()
    vm.settle()
    assert vm.described(first.name).capability(Vgpu) is None
    # Their driver_override is still set, so the functions come back with the driver.
    vm.run("modprobe", DRIVER.name)
    vm.settle()
    assert [function.current() for function in card] == ["0"] * len(card)
    assert len(first.creatable()) == 23
