"""write: writes an attribute that keeps what is written to it, such as driver_override.

Reads and writes the attribute.
"""

from __future__ import annotations

import errno

from nodedevd.actions.plan import Write
from nodedevd.control.steps.base import StepHost, StepRefused, describe
from nodedevd.host.lines import fields_of

_CLEARED = ("", "(null)")
"""How attributes show that there is nothing: driver_override does it in the second way."""


class WriteHandler:
    """Writes an attribute."""

    def do(self, step: Write, host: StepHost) -> None:
        """Write it."""
        if step.of_new and not host.exists(step.path):
            raise StepRefused(errno.ENOENT, "the device has no such attribute (ENOENT)")
        _write(step.path, step.value, host)

    def undo(self, step: Write, host: StepHost) -> None:
        """Write what it had before, unless it shows that already."""
        if step.before is None or self.done(step, host) is False:
            return
        _write(step.path, step.before, host)

    def can_undo(self, step: Write) -> bool:
        """Return whether it is known what it had before, or the device goes with it."""
        return step.before is not None or step.of_new

    def done(self, step: Write, host: StepHost) -> bool | None:
        """Return whether the attribute shows the value.

        None if it cannot be read, or shows something that is neither what it had nor the value: a
        driver may round a number, and list all words with the chosen one in brackets.
        """
        try:
            text = host.read(step.path)
        except OSError:
            return None if host.exists(step.path) else False
        if text is None or (step.before is not None and _shows(text, step.before)):
            return False
        return True if _shows(text, step.value) else None


def _shows(text: str, value: str) -> bool:
    text, value = text.strip(), value.strip()
    if not value:
        return text in _CLEARED
    return text == value or f"[{value}]" in fields_of(text)


def _write(path: str, value: str, host: StepHost) -> None:
    try:
        host.write(path, value, retried=frozenset({errno.EAGAIN}))
    except OSError as error:
        raise StepRefused(error.errno or 0, f"{path}: {describe(error)}") from None
