"""count: of how many vGPUs a client may ask; here, so that a daemon need not load the answer."""

from __future__ import annotations

from typing import Final

COUNT_AT_MOST: Final = 1_000_000
