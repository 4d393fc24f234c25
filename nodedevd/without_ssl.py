"""without_ssl: loads asyncio without OpenSSL, for services that use Unix sockets alone.

OpenSSL takes a tenth of the time of a short start, and 5 MiB of memory. asyncio works without
it, as in a Python that was built without.
"""

from __future__ import annotations

import sys
from typing import Any


def load_asyncio() -> None:
    """Import asyncio; `import ssl` works as ever afterwards, but asyncio has no TLS."""
    modules: dict[str, Any] = sys.modules
    if "asyncio" in modules or "ssl" in modules:
        return
    modules["ssl"] = None  # an import of it raises ImportError, which asyncio expects
    try:
        import asyncio  # noqa: F401
    finally:
        del modules["ssl"]
