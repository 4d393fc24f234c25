"""substituted: imports of others without parts that take long to load and are not needed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def substituted(name: str, module: ModuleType | None) -> Iterator[None]:
    """Have the imports in the block get this module by a name; None: there is no such module.

    Afterwards an import of the name works as ever. Not beside imports in other threads.
    """
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    before = modules.get(name)
    if before is None:
        modules[name] = module
    try:
        yield
    finally:
        if before is None:
            del modules[name]
