"""The simulated vGPU driver of tests/vm/module, bound to the virtual functions of the NVMe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.vm.guest import vm

CARD = next(Path("/sys/bus/pci/devices").glob("*/sriov_totalvfs"), Path()).parent.resolve()
"""the physical function"""
DRIVER = Path("/sys/bus/pci/drivers/vgpusim")
DEBUG = Path("/sys/kernel/debug/vgpusim")


class Function:
    """A virtual function of the card, by its place among them."""

    def __init__(self, number: int) -> None:
        self.path = (CARD / f"virtfn{number}").resolve()
        self.address = self.path.name
        self.name = "pci_" + self.address.replace(":", "_").replace(".", "_")

    def creatable(self) -> list[str]:
        """Return the ids that it lists, below the heading."""
        heading, *lines = (self.path / "nvidia/creatable_vgpu_types").read_text().splitlines()
        assert heading == "ID    : vGPU Name"
        return [line.split(" : ")[0].strip() for line in lines]

    def current(self) -> str:
        """Return the id of the type that is set."""
        return (self.path / "nvidia/current_vgpu_type").read_text().strip()

    def set(self, type_id: str) -> None:
        """Write the id of a type."""
        vm.write(self.path / "nvidia/current_vgpu_type", type_id)

    def debug(self, name: str, value: int) -> None:
        """Write one of the driver's attributes for tests."""
        vm.write(DEBUG / self.address / name, str(value))

    def waiting(self) -> int:
        """Return how many writes hang."""
        return int((DEBUG / self.address / "waiting").read_text())

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Have writes to current_vgpu_type hang."""
        self.debug("hang", 1)
        try:
            yield
        finally:
            self.debug("hang", 0)


def bind(function: Function) -> None:
    """Bind a function without a driver to the simulated one."""
    vm.write(function.path / "driver_override", DRIVER.name)
    vm.write("/sys/bus/pci/drivers_probe", function.address)
    assert (function.path / "driver").resolve() == DRIVER


@contextmanager
def functions(number: int = 4, **parameters: object) -> Iterator[list[Function]]:
    """Have so many virtual functions with the driver loaded, and take all away afterwards."""
    vm.run("modprobe", DRIVER.name, *(f"{name}={value}" for name, value in parameters.items()))
    try:
        vm.write(CARD / "sriov_drivers_autoprobe", "0")
        vm.write(CARD / "sriov_numvfs", str(number))
        found = [Function(one) for one in range(number)]
        for function in found:
            bind(function)
        vm.settle()
        yield found
    finally:
        vm.write(CARD / "sriov_numvfs", "0")
        vm.write(CARD / "sriov_drivers_autoprobe", "1")
        vm.run("modprobe", "-r", DRIVER.name)
        vm.settle()
