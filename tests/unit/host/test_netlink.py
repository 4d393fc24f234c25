"""netlink: errors in messages."""

from __future__ import annotations

import errno
import struct

import pytest

from nodedevd.host.netlink import error_of


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (-errno.ENODEV, errno.ENODEV),
        (errno.ENODEV, errno.ENODEV),
        (-(2**31), 4095),
        (2**31 - 1, 4095),
    ],
)
def test_error_has_a_number_that_a_kernel_can_have(number: int, expected: int) -> None:
    """Others are errors, too: strerror(3) takes an int."""
    error = error_of(struct.pack("=i", number) + bytes(16))
    assert error is not None
    assert error.errno == expected


def test_error_that_is_cut_off_is_none() -> None:
    """Three bytes are no number."""
    assert error_of(b"\xff\xff\xff") is None
