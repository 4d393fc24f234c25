"""nodedevctl as on the host that is at ROOT, whose control service is on SOCKET.

python -m tests.support.ctl_on_host ROOT SOCKET COMMAND...
"""

from __future__ import annotations

import os
import sys
from unittest.mock import patch

from nodedevd.cli.embedded import Embedded
from nodedevd.cli.main import main
from nodedevd.cli.options import Context


def _source(context: Context, *, scan: bool = True) -> Embedded:
    return Embedded(sys.argv[1])


if __name__ == "__main__":
    os.environ["NODEDEVD_CONTROL_SOCKET"] = sys.argv[2]
    with patch.object(Context, "source", _source), patch.object(Context, "brief_source", _source):
        main(sys.argv[3:])
