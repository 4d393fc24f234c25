"""The words of nodedevd's metadata in a domain of libvirt.

`nodedevctl hostdev --managed-by-hook` writes them, the hook for libvirt reads them, and
`formats/domain-metadata.rng` is their schema.
"""

from __future__ import annotations

from typing import Final

NAMESPACE: Final = "urn:nodedevd:domain:1"
"""The number changes when a document of before would mean something else."""
PREFIX: Final = "nodedevd"
"""which libvirt calls the key of the metadata"""
MANAGED, MDEV, FUNCTION, FROM, ATTRIBUTE = "managed", "mdev", "function", "from", "attribute"
