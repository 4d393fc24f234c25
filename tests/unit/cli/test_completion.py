"""Completion of nodedevctl's arguments, as a shell asks for it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from nodedevd.cli import completion
from nodedevd.cli.main import main
from tests.support.hosts import host_file

HOST = "vgpu-two-generations"
MDEV = "5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01"


def proposed(arguments: str, typed: str = "", host: str = HOST) -> list[str]:
    """Return the proposals after some arguments, on a sample host."""
    return asked(["--sysroot", str(host_file(host)), *arguments.split()], typed)


def asked(arguments: list[str], typed: str) -> list[str]:
    """Return the proposals for a command line."""
    completion = ShellComplete(main, {}, "nodedevctl", "_NODEDEVCTL_COMPLETE")
    return [one.value for one in completion.get_completions(arguments, typed)]


@pytest.mark.parametrize("command", ["show", "dumpxml", "hostdev", "resolve", "in-use", "types"])
def test_device_is_completed_by_name_address_and_uuid(command: str) -> None:
    """Addresses and UUIDs only once something is typed: each device is proposed once before."""
    assert proposed(command, "pci_0000_02", "vgpu-pf") == ["pci_0000_02_00_0"]
    assert proposed(command, "0000:02", "vgpu-pf") == ["0000:02:00.0"]
    assert proposed(command, MDEV[:3], "vgpu-pf") == [MDEV]
    assert len(proposed(command, "", "vgpu-pf")) == 6
    assert proposed(command, "nothing", "vgpu-pf") == []


@pytest.mark.parametrize(
    "arguments", ["wait --device", "wait --gone", "wait --parent", "events --device"]
)
def test_device_is_completed_as_value_of_an_option(arguments: str) -> None:
    """Options are completed like arguments."""
    assert proposed(arguments, "comp") == ["computer"]


def test_inactive_mdev_is_completed() -> None:
    """It has a name and a UUID, too."""
    assert "d9e0f3a6-1b4c-4d72-8c38-5e6b9a0f2d04" in proposed("show", "d9e0", "vgpu-sriov")


@pytest.mark.parametrize("arguments", ["fits --type", "wait --parent x --type", "hostdev --type"])
def test_type_is_completed_by_id_and_name(arguments: str) -> None:
    """The name is without the vendor's word, which is optional, and has a blank behind it."""
    assert proposed(arguments, "nvidia-283") == ["nvidia-283"]
    assert "L40S-8Q" in proposed(arguments, "L40S")


@pytest.mark.parametrize("command", ["list", "events", "wait"])
def test_kind_is_completed_also_after_a_comma(command: str) -> None:
    """A kind that is there already is not proposed again."""
    assert proposed(f"{command} --cap", "mdev_p") == ["mdev_parent"]
    assert proposed(f"{command} --cap", "pci,mdev_p") == ["pci,mdev_parent"]
    assert "pci,pci" not in proposed(f"{command} --cap", "pci,p")


def test_sysroot_may_follow_the_command() -> None:
    """As the options may."""
    assert asked(["show", "--sysroot", str(host_file(HOST))], "comp") == ["computer"]


def test_text_of_a_driver_is_no_proposal_if_a_shell_could_not_read_it() -> None:
    """A blank or a control character would split the line, or worse."""
    found = proposed("fits --type", "", "broken")
    assert found
    assert all(word.isprintable() and " " not in word for word in found)


def test_without_an_answer_there_are_no_proposals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No daemon, a stale socket, no sysroot: completion prints nothing, and waits for nobody."""
    monkeypatch.setattr(completion, "_ANSWER_SECONDS", 3600.0)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "stale"))
    for selection in (
        ["--socket", str(tmp_path / "none")],
        ["--socket", str(tmp_path / "stale")],
        ["--sysroot", str(tmp_path)],
    ):
        assert asked([*selection, "show"], "") == []
        assert asked([*selection, "fits", "--type"], "") == []


def test_daemon_that_does_not_answer_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a moment, nobody waits for proposals."""
    monkeypatch.setattr(completion, "_ANSWER_SECONDS", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        assert asked(["--socket", str(tmp_path / "silent"), "show"], "") == []


@pytest.mark.parametrize(
    "arguments",
    ["remove", "stop", "start --parent", "create nvidia-283", "define nvidia-283", "vfs", "unbind"],
)
def test_device_is_completed_for_changes(arguments: str) -> None:
    """Of the host that the change is planned for."""
    assert proposed(arguments, "comp") == ["computer"]


def test_type_is_completed_for_changes() -> None:
    """As an argument, and as an option."""
    for arguments in ("create", "define", "modify x --type"):
        assert proposed(arguments, "nvidia-283") == ["nvidia-283"]


def test_driver_is_completed() -> None:
    """Those of the host's functions, and VFIO's."""
    found = proposed("bind 0000:02:00.0", "", "vgpu-pf")
    assert {"vfio-pci", "nvidia"} <= set(found)
    assert proposed("bind 0000:02:00.0", "vfio") == ["vfio-pci"]


def test_socket_of_the_control_service_is_not_asked_for_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has none; the daemon has, wherever that is."""
    path = str(tmp_path / "control.sock")
    monkeypatch.setenv("NODEDEVD_SOCKET", str(tmp_path / "none"))
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(path)
        service.listen()
        service.settimeout(0)
        assert asked(["remove", "--socket", path], "comp") == []
        with pytest.raises(BlockingIOError):
            service.accept()
