"""axe-core, which finds what keeps people from using a page. npm has it; it is kept in a cache.

python -m tests.support.axe fetches it, and fails if it cannot be had.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "4.14.1"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
FILE = _CACHE / f"nodedevd-cockpit/axe-core-{VERSION}.js"
"""The script that a page loads."""


def main() -> int:
    """Fetch it unless it is there, and return an exit status."""
    if FILE.exists():
        return 0
    with tempfile.TemporaryDirectory() as name:
        fetch = ["npm", "pack", "--silent", f"axe-core@{VERSION}"]
        try:
            subprocess.run(fetch, cwd=name, check=True, capture_output=True, timeout=120)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"axe-core cannot be had: {error}", file=sys.stderr)
            return 1
        with tarfile.open(Path(name, f"axe-core-{VERSION}.tgz")) as archive:
            script = archive.extractfile("package/axe.min.js")
            assert script is not None
            FILE.parent.mkdir(parents=True, exist_ok=True)
            FILE.write_bytes(script.read())
    return 0


if __name__ == "__main__":
    sys.exit(main())
