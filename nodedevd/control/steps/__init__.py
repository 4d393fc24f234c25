"""control/steps: one file a kind of step: how it is done on a host, undone, and recognised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nodedevd.actions.plan import CreateMdev, RemoveMdev, SetProfile, Step, Write
from nodedevd.control.steps.base import StepHandler
from nodedevd.control.steps.create_mdev import CreateMdevHandler
from nodedevd.control.steps.remove_mdev import RemoveMdevHandler
from nodedevd.control.steps.set_profile import SetProfileHandler
from nodedevd.control.steps.write import WriteHandler

HANDLERS: Final[Mapping[type[Step], StepHandler[Any]]] = {
    CreateMdev: CreateMdevHandler(),
    RemoveMdev: RemoveMdevHandler(),
    SetProfile: SetProfileHandler(),
    Write: WriteHandler(),
}
"""What does each kind of step."""
