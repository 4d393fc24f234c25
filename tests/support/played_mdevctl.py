"""mdevctl define and start, played on a sample host, together with the kernel's part.

    python -m tests.support.played_mdevctl ROOT define -u UUID -p PARENT -t TYPE [--auto]
    python -m tests.support.played_mdevctl ROOT start -u UUID

The real one writes to the files of a kernel, and to the machine's own definitions.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tests.support.trees import Tree

IOMMU_GROUP = 90


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("command", choices=("define", "start"))
    parser.add_argument("-u", dest="uuid", required=True)
    parser.add_argument("-p", dest="parent")
    parser.add_argument("-t", dest="type")
    parser.add_argument("--auto", action="store_true")
    given = parser.parse_args()
    tree = Tree(given.root)
    if given.command == "define":
        start = "auto" if given.auto else "manual"
        tree.definition(given.parent, given.uuid, given.type, start=start)
        return
    (definition,) = given.root.glob(f"etc/mdevctl.d/*/{given.uuid}")
    type_id = json.loads(definition.read_text())["mdev_type"]
    tree.mdev(definition.parent.name, given.uuid, type_id, driver="nvidia", iommu_group=IOMMU_GROUP)


if __name__ == "__main__":
    main()
