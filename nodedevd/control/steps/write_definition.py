"""write_definition: writes, replaces or removes one of mdevctl's definitions.

Writes /etc/mdevctl.d/<parent>/<uuid>, as `control/definitions.py` does it
"""

from __future__ import annotations

import os
from contextlib import suppress

from nodedevd.actions.plan import WriteDefinition
from nodedevd.control.definitions import (
    DefinitionChanged,
    Unusable,
    read_definition,
    write_definition,
)
from nodedevd.control.steps.base import StepHost, StepRefused
from nodedevd.errors import Changed
from nodedevd.host.faults import errno_name
from nodedevd.kinds.shared.mdevctl import MOST_BYTES, definition_path

_NOT_UTF_8 = "\ufffd"


class WriteDefinitionHandler:
    """Writes a definition."""

    def do(self, step: WriteDefinition, host: StepHost) -> None:
        """Write it. Raises Changed if it is not as the plan found it, StepRefused."""
        try:
            _write(step, host, text=step.text, before=step.before)
        except DefinitionChanged:
            raise Changed(
                step.uuid,
                f"somebody else has just changed its definition for {step.parent}, which is left"
                " as it is; look at it, and try again",
            ) from None

    def undo(self, step: WriteDefinition, host: StepHost) -> None:
        """Put back what was there, unless somebody has changed it since."""
        with suppress(DefinitionChanged):
            if step.text != step.before:
                _write(step, host, text=step.before, before=step.text)

    def can_undo(self, step: WriteDefinition) -> bool:
        """Return whether the plan has all of what was there, byte for byte."""
        before = step.before or ""
        return _NOT_UTF_8 not in before and len(before) <= MOST_BYTES

    def done(self, step: WriteDefinition, host: StepHost) -> bool | None:
        """Return whether the definition is as the step leaves it; None if it is as neither."""
        found = read_definition(host.definitions, step.parent, step.uuid)
        if found == step.text:
            return True
        return False if found == step.before else None


def _write(step: WriteDefinition, host: StepHost, *, text: str | None, before: str | None) -> None:
    try:
        write_definition(host.definitions, step.parent, step.uuid, text, before)
    except Unusable as error:
        raise StepRefused(0, str(error)) from None
    except OSError as error:
        path = definition_path(step.parent, step.uuid)
        words = os.strerror(error.errno or 0)
        raise StepRefused(
            error.errno or 0, f"{path}: {words} ({errno_name(error.errno or 0)})"
        ) from None
