"""Dry runs on sample hosts: the plans, notes and refusals that people read."""

from __future__ import annotations

import shlex

import msgspec
import pytest
from jsonschema_rs import Draft202012Validator

from nodedevd.actions.answers import Outcome
from nodedevd.actions.plan import CreateMdev, SetProfile
from nodedevd.cli.schema import json_schema
from tests.support.ctl import on
from tests.support.golden import Golden

UUID = "4b20d080-1b54-4048-85b3-a6a62d165c01"
DEFINED = "c3d7b1e4-8f2a-4e60-9b15-7a4c2d1e5f03"
ACTIVE = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"

COMMANDS = {
    "vgpu-sriov": (
        f"create A2-4Q --uuid {UUID}",
        f"create 'NVIDIA A2-4Q' pci_0000_08_00_7 --uuid {UUID} --attribute nvidia/vgpu_params=a=1",
        f"create A2-4Q --count 9 --uuid {UUID}",
        "create A2-4Q --count 9",
        f"create A2-4Q --uuid {ACTIVE}",
        f"create A2-8Q --uuid {ACTIVE}",
        "create A2-99",
        "create A2-4Q nobody",
        f"start {DEFINED}",
        f"start {DEFINED} --parent 0000:08:00.5 --owner guest1",
        "start d9e0f3a6-1b4c-4d72-8c38-5e6b9a0f2d04",
        f"stop {ACTIVE}",
        f"remove {ACTIVE}",
        f"remove {ACTIVE} --force",
        f"remove {ACTIVE} --generation 7 --force",
        f"define A2-8Q 0000:08:00.7 --uuid {UUID} --autostart",
        f"define nvidia-746 0000:99:00.0 --uuid {UUID}",
        f"define A2-4Q 0000:08:00.7 --uuid {ACTIVE}",
        f"undefine {DEFINED}",
        f"undefine {DEFINED} --parent 0000:08:00.6",
        f"undefine {ACTIVE}",
        f"modify {DEFINED} --parent 0000:08:00.6 --type A2-4Q --attribute nvidia/vgpu_params=a=1",
        f"modify {DEFINED} --parent 0000:08:00.5 --no-attributes",
        f"autostart {DEFINED} --parent 0000:08:00.6",
        f"autostart {DEFINED} --parent 0000:08:00.6 --disable",
        "vfs 0000:08:00.0 4",
        "vfs 0000:08:00.0 0",
        "vfs 0000:81:00.1 2",
        "bind 0000:81:00.1 i40e",
        "bind 0000:81:00.1 vfio-pci",
        "bind mdev_27b42a51_9f6b_4c0b_8f5f_4f3a1d0e8c01 vfio-pci",
        "unbind 0000:00:00.0",
    ),
    "vgpu-vendor-vfio": (
        "create L40S-2Q",
        "create L40S-2Q --count 2 --owner guest1",
        "create L40S-2Q --count 30",
        "create L40S-2Q 0000:26:00.4",
        "create L40S-2Q 0000:5e:00.0",
        f"create L40S-2Q --uuid {UUID}",
        "remove 0000:26:00.4",
        "remove 0000:26:00.4 --force",
        "remove 0000:26:00.7",
        "remove 0000:26:00.0",
        "vfs 0000:5e:00.0 16",
        "vfs 0000:26:00.0 0",
    ),
    "samples": (
        f"create mtty-1 --uuid {UUID}",
        f"create mdpy-vga mdpy --uuid {UUID} --attribute power/control=on",
        "stop b1ae8bf6-38b0-4c81-9d44-78ce3f520010",
        "start b1ae8bf6-38b0-4c81-9d44-78ce3f520015",
    ),
    "a100-mig": (f"create A100-1-5C --uuid {UUID}", f"create A100-2-10C --uuid {UUID}"),
    "s390x-ap-ccw": (f"create vfio_ccw-io --uuid {UUID}",),
    "empty": ("create A2-4Q", "remove computer"),
}


@pytest.mark.slow
@pytest.mark.parametrize("host", COMMANDS)
def test_dry_run_prints_the_plan_or_why_there_is_none(host: str, golden: Golden) -> None:
    """Each command with what it prints, on both streams, and its exit status."""
    text = ""
    for command in COMMANDS[host]:
        result = on(host, columns=80).invoke(*shlex.split(command), "--dry-run")
        text += f"$ nodedevctl {command} --dry-run\n{result.output}[{result.exit_code}]\n\n"
    golden.check(f"{host}/plans.txt", text)


@pytest.mark.parametrize(
    ("host", "command", "kind"),
    [
        ("vgpu-sriov", f"create A2-4Q --uuid {UUID}", CreateMdev),
        ("vgpu-vendor-vfio", "create L40S-2Q", SetProfile),
    ],
)
def test_plan_as_json_has_its_steps_as_text_and_data(host: str, command: str, kind: type) -> None:
    """Both are the same steps; the document is that of the schema."""
    out = on(host).out(*command.split(), "--dry-run", "--json")
    outcome = msgspec.json.decode(out, type=Outcome)
    assert outcome.dry_run
    assert outcome.steps == tuple(map(str, outcome.plan))
    assert [type(step) for step in outcome.plan] == [kind]
    Draft202012Validator(json_schema("create")).validate(msgspec.json.decode(out))


def test_new_uuid_is_another_one_each_time() -> None:
    """It is random, as uuidgen's."""
    command = ("create", "A2-4Q", "--dry-run", "--json")
    plans = [on("vgpu-sriov").json(*command)["plan"] for _ in range(2)]
    first, second = (plan[0]["uuid"] for plan in plans)
    assert first != second
