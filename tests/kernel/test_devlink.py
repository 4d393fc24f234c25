"""devlink on a real kernel."""

from __future__ import annotations

import errno
import os

import pytest

from nodedevd.host import devlink


def test_real_kernel_knows_no_such_card() -> None:
    """With or without devlink in this kernel, for any user, the result is an errno."""
    expected = "|".join(map(os.strerror, (errno.ENOENT, errno.ENODEV, errno.EPERM)))
    with pytest.raises(OSError, match=expected):
        devlink.is_switchdev("pci", "ffff:ff:1f.7")
