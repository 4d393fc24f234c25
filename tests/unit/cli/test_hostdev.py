"""nodedevctl hostdev: its output and its errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec
import pytest

from nodedevd.cli.hostdev import complete
from nodedevd.cli.source import Source
from nodedevd.follow import shared_look
from nodedevd.host.processes import OpenFiles, Process, ProcessScan
from nodedevd.questions.hostdev.request import HostDev
from nodedevd.questions.in_use import InUse, Use, UseReason, VfioUsage
from tests.support.ctl import Ctl, on
from tests.support.hosts import snapshot_of

MDEV = "5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01"
UUID = "c0ffee00-0000-4000-8000-000000000001"


def test_xml_is_printed_and_notes_go_to_standard_error() -> None:
    """The output can be given to virsh as it is."""
    result = on("vgpu-pf").run(
        *("hostdev", MDEV, "--display", "on", "--ramfb", "--address", "pci:05:00.0")
    )
    assert result.stdout == (
        "<hostdev mode='subsystem' type='mdev' model='vfio-pci' display='on' ramfb='on'>\n"
        "  <source>\n"
        f"    <address uuid='{MDEV}'/>\n"
        "  </source>\n"
        "  <address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/>\n"
        "</hostdev>\n"
    )
    assert result.stderr == (
        "note: the domain needs a <graphics> device for the display\n"
        "note: a domain takes no more than one device with ramfb\n"
    )


@pytest.mark.parametrize(
    ("host", "arguments", "start"),
    [
        ("vgpu-pf", [MDEV, "--display", "off"], "<hostdev mode='subsystem' type='mdev' model='v"),
        (
            "vdpa-smartnic",
            ["3b:00.5", "--managed", "no"],
            "<hostdev mode='subsystem' type='pci' managed='no'>\n",
        ),
        (
            "s390x-ap-ccw",
            ["d8a5e2f1-0c7b-4d36-8e19-5f2a7b6c3d03", "--model", "vfio-ccw"],
            "<hostdev mode='subsystem' type='mdev' model='vfio-ccw'>\n",
        ),
        (
            "samples",
            [UUID, "--not-created", "--type", "mtty-2"],
            "<hostdev mode='subsystem' type='mdev' model='vfio-pci'>\n",
        ),
    ],
)
def test_options_reach_the_xml(host: str, arguments: list[str], start: str) -> None:
    """Without a note, only the XML is printed."""
    assert on(host).out("hostdev", *arguments).startswith(start)


def test_boot_order_is_written_with_a_note() -> None:
    """The note says what the rest of the domain must have."""
    result = on("vdpa-smartnic").run("hostdev", "3b:00.5", "--boot-order", "3")
    assert "<boot order='3'/>\n" in result.stdout
    assert "note: with a boot order" in result.stderr


@pytest.mark.parametrize("choice", ["yes", "no"])
def test_choice_of_iommufd_is_written_with_a_note(choice: str) -> None:
    """The note has the release of libvirt that understands it."""
    result = on("vdpa-smartnic").run("hostdev", "3b:00.5", "--iommufd", choice)
    assert f"  <driver iommufd='{choice}'/>\n  <source>\n" in result.stdout
    assert result.stderr == "note: the choice of iommufd needs libvirt 12.1.0 or later\n"


def test_type_that_no_device_offers_is_a_failure() -> None:
    """With --model the XML is printed, for another host."""
    asked = ("hostdev", UUID, "--not-created", "--type", "nvidia-9999")
    assert "no device offers the type 'nvidia-9999'" in on("samples").run(*asked, status=6).stderr
    result = on("samples").run(*asked, "--model", "vfio-pci")
    assert result.stdout.startswith("<hostdev mode='subsystem' type='mdev' model='vfio-pci'>")
    assert "no parent on this host offers the type 'nvidia-9999'" in result.stderr


def look_again(found: HostDev, reason: UseReason | None, seen: VfioUsage) -> HostDev:
    """Complete the answer of a daemon that does not know whether the device is open."""

    class Daemon:
        def in_use(self, names: Sequence[str] | None = None) -> InUse:
            use = Use(VGPU.name, VGPU.path, "unknown", (), reason)
            return InUse(1, 1, (use,))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_look, "look_in_time", lambda sysroot: seen)
        return complete(cast(Source, Daemon()), "0000:26:00.4", found)


VGPU = snapshot_of("vgpu-vendor-vfio").lookup("0000:26:00.4")
FOUND = HostDev(1, "pci", None, "unknown", "<hostdev/>", ("a note",))


def test_root_sees_processes_that_the_daemon_may_not_see() -> None:
    """The note is added to those of the daemon."""
    node = "/dev/vfio/32"
    open_files = OpenFiles(Process(9, "qemu"), frozenset({node}), frozenset(), 0)
    seen = VfioUsage({node: [VGPU.path or ""]}, ProcessScan((open_files,), 0, hidden=False))
    found = look_again(FOUND, "processes-unseen", seen)
    assert (found.open, found.xml) == ("yes", FOUND.xml)
    assert found.notes == (
        "a note",
        "a process has it open: qemu (9); a second guest cannot open it",
    )


def test_daemon_of_another_host_is_not_completed() -> None:
    """The processes of this host say nothing of it."""
    assert look_again(FOUND, "other-host", VfioUsage()) == FOUND


def test_json_has_xml_model_and_notes() -> None:
    """The notes are in the object; standard error is empty."""
    text = on("samples").out("hostdev", UUID, "--not-created", "--arch", "s390x", "--json")
    found = msgspec.json.decode(text, type=HostDev)
    assert (found.type, found.model) == ("mdev", "vfio-ccw")
    assert found.xml.startswith("<hostdev ")
    assert "guess from the architecture s390x" in found.notes[0]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([MDEV, "--model", "vfio-platform"], "'vfio-platform' is not one of"),
        ([MDEV, "--display", "yes"], "'yes' is not one of"),
        ([MDEV, "--boot-order", "0"], "0 is not in the range"),
        ([MDEV, "--address", "05:00.0"], "'05:00.0' is no address; give one like pci:0000:05:00.0"),
        ([MDEV, "--type", "nvidia-283"], "need --not-created"),
        ([MDEV, "--arch", "s390x"], "need --not-created"),
        (["gpu", "--not-created"], "'gpu' is no UUID"),
        ([], "Missing argument 'DEVICE'"),
    ],
)
def test_wrong_usage_exits_2_and_says_what_is_right(arguments: list[str], error: str) -> None:
    """The error comes before any host is scanned."""
    result = Ctl(["--sysroot", "/nowhere"]).run("hostdev", *arguments, status=2)
    assert result.stdout == ""
    assert error in result.stderr
