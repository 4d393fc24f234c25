"""config: the values in a function's configuration space, and its problems."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.kinds.pci.config import CONFIG_SIZE, PciConfig, PciExpress, PciLink
from tests.support.trees import Express, config_space

EXPRESS = Express(port_type=0, cap_speed=4, cap_width=16, port=3, sta_speed=3, sta_width=8)


def space(*, header_type: int = 0, revision: int = 0) -> bytearray:
    """Return a whole configuration space with a link."""
    return bytearray(
        config_space(
            0x8086, 0x1234, 0x020000, header_type=header_type, express=EXPRESS, revision=revision
        )
    )


def test_whole_space_tells_all() -> None:
    """Revision, kind of bridge, and both ends of the link."""
    config = PciConfig(bytes(space(revision=0xA1, header_type=1)))
    assert config.revision == 0xA1
    assert config.bridge == "pci-bridge"
    assert config.express == PciExpress(PciLink(16.0, 16, 3), PciLink(8.0, 8))
    assert config.problem is None


@pytest.mark.parametrize("port_type", [0, 1, 4, 5, 6, 7, 8])
def test_port_with_a_link_tells_it(port_type: int) -> None:
    """Endpoints, ports of either side, and bridges have a link."""
    data = config_space(1, 2, 3, express=Express(port_type, 1, 1, 0, 1, 1))
    assert PciConfig(data).express == PciExpress(PciLink(2.5, 1, 0), PciLink(2.5, 1))


@pytest.mark.parametrize("port_type", [9, 10])
def test_port_without_a_link_has_none(port_type: int) -> None:
    """Integrated endpoints and event collectors are inside the root complex."""
    data = config_space(1, 2, 3, express=Express(port_type, 1, 1, 0, 1, 1))
    assert PciConfig(data).express == PciExpress(None, None)


@pytest.mark.parametrize("size", [0, 256])
def test_nothing_read_or_no_capability_list_is_no_problem(size: int) -> None:
    """A missing file, and a function without a list, are not problems."""
    data = space()[:size]
    if data:
        data[0x06] = 0
    config = PciConfig(bytes(data))
    assert (config.express, config.problem) == (None, None)


def test_cardbus_bridge_has_its_list_elsewhere() -> None:
    """The header of type 2 keeps the pointer at 0x14."""
    data = space(header_type=2)
    data[0x14], data[0x34] = data[0x34], 0
    config = PciConfig(bytes(data))
    assert config.bridge == "cardbus-bridge"
    assert config.express is not None


def test_two_low_bits_of_a_pointer_do_not_count() -> None:
    """They are reserved, and masked."""
    data = space()
    data[0x34] |= 3
    data[0x41] |= 3
    assert PciConfig(bytes(data)).express is not None


@pytest.mark.parametrize(("position", "pointer"), [(0x34, 0x3C), (0x41, 0x40), (0x41, 0x04)])
def test_list_that_breaks_is_told(position: int, pointer: int) -> None:
    """A pointer into the header, or back, ends the walk."""
    data = space()
    data[position] = pointer
    config = PciConfig(bytes(data))
    assert config.express is None
    assert config.problem == ("malformed", f"capability list breaks at 0x{pointer:02x}")


@pytest.mark.parametrize(
    ("size", "problem"),
    [
        (1, ("malformed", "1 bytes, expected at least 64")),
        (63, ("malformed", "63 bytes, expected at least 64")),
        (64, ("refused", "only root reads beyond the first 64 bytes")),
        (0x41, ("malformed", "capability at 0x40 is cut off")),
        (0x51, ("malformed", "capability at 0x50 is cut off")),
        (0x63, ("malformed", "capability at 0x50 is cut off")),
        (0x64, None),
    ],
)
def test_space_that_ends_early_tells_where(size: int, problem: tuple[str, str] | None) -> None:
    """A reader without privilege gets 64 bytes; other ends are malformed."""
    config = PciConfig(bytes(space()[:size]))
    assert config.problem == problem
    assert (config.express is None) == (problem is not None)


def test_function_that_does_not_answer_is_told() -> None:
    """A read of a bus without a device returns all ones."""
    config = PciConfig(b"\xff" * CONFIG_SIZE)
    assert config.problem == ("unreadable", "all ones: the function does not answer")
    assert (config.revision, config.bridge, config.express) == (None, None, None)


def test_virtual_function_has_ids_of_all_ones() -> None:
    """They alone do not make a function that is gone."""
    data = space()
    data[:4] = b"\xff" * 4
    config = PciConfig(bytes(data))
    assert config.problem is None
    assert config.express is not None


@given(st.binary(max_size=CONFIG_SIZE + 16))
def test_space_of_any_bytes_is_read(data: bytes) -> None:
    """Any bytes are read to an end, or have a problem."""
    config = PciConfig(data)
    assert config.problem is None or config.express is None
    if config.problem is None and data:
        assert config.revision == data[8]


@given(st.binary(min_size=192, max_size=192))
def test_walk_of_any_list_ends(body: bytes) -> None:
    """Whatever the list holds behind a header that is well, its walk ends."""
    config = PciConfig(bytes(space()[:64]) + body)
    assert config.revision == 0
    assert config.problem is None or config.problem[0] == "malformed"
