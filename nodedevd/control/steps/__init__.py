"""control/steps: one file a kind of step: how it is done on a host, undone, and recognised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nodedevd.actions.plan import (
    BindDriver,
    CreateMdev,
    OverrideDriver,
    RemoveMdev,
    RunCallouts,
    SetProfile,
    SetVfs,
    SriovManage,
    Step,
    UnbindDriver,
    Write,
    WriteDefinition,
)
from nodedevd.control.steps.base import StepHandler
from nodedevd.control.steps.bind_driver import BindDriverHandler
from nodedevd.control.steps.create_mdev import CreateMdevHandler
from nodedevd.control.steps.override_driver import OverrideDriverHandler
from nodedevd.control.steps.remove_mdev import RemoveMdevHandler
from nodedevd.control.steps.run_callouts import RunCalloutsHandler
from nodedevd.control.steps.set_profile import SetProfileHandler
from nodedevd.control.steps.set_vfs import SetVfsHandler
from nodedevd.control.steps.sriov_manage import SriovManageHandler
from nodedevd.control.steps.unbind_driver import UnbindDriverHandler
from nodedevd.control.steps.write import WriteHandler
from nodedevd.control.steps.write_definition import WriteDefinitionHandler

HANDLERS: Final[Mapping[type[Step], StepHandler[Any]]] = {
    BindDriver: BindDriverHandler(),
    CreateMdev: CreateMdevHandler(),
    OverrideDriver: OverrideDriverHandler(),
    RemoveMdev: RemoveMdevHandler(),
    RunCallouts: RunCalloutsHandler(),
    SetProfile: SetProfileHandler(),
    SetVfs: SetVfsHandler(),
    SriovManage: SriovManageHandler(),
    UnbindDriver: UnbindDriverHandler(),
    Write: WriteHandler(),
    WriteDefinition: WriteDefinitionHandler(),
}
"""What does each kind of step."""
