"""Source: where a command gets devices from, a daemon (`Client`) or a scan (`Embedded`)."""

from __future__ import annotations

from typing import TypeAlias

from nodedevd.cli.embedded import Embedded
from nodedevd.client import Client

Source: TypeAlias = Client | Embedded
"""Both answer the calls of the commands alike."""
