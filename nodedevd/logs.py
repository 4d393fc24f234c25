"""logs: sends log records to standard error, one per line, with a priority for the journal."""

from __future__ import annotations

import logging
import os
import sys

_PRIORITIES = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}


class _JournalFormatter(logging.Formatter):
    """Puts the priority in front of every line, as `<N>`; see sd-daemon(3)."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).split("\n"))


def set_up_logging(verbosity: int) -> None:
    """Log from INFO on; with a verbosity above 0 nodedevd's own records from DEBUG on.

    JOURNAL_STREAM in the environment shows that standard error is the journal.
    """
    handler = logging.StreamHandler(sys.stderr)
    if "JOURNAL_STREAM" in os.environ:
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("nodedevd: %(levelname)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("nodedevd").setLevel(logging.DEBUG if verbosity else logging.INFO)
