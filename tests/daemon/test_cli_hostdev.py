"""nodedevctl hostdev: its output and its errors."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from nodedevd.questions.hostdev import HostDev
from tests.daemon.test_cli import MDEV, Ctl, on
from tests.support.hosts import host_file, unpacked
from tests.support.running import running

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


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ["pci_0000_00_02_0"],
            "nodedevctl: pci_0000_00_02_0 cannot be assigned to a guest: it is",
        ),
        ([MDEV, "--ramfb"], "nodedevctl: ramfb does not fit mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3"),
        (["nobody"], "nodedevctl: no device named 'nobody'"),
    ],
)
def test_refusal_exits_1_with_a_daemon_and_without(
    tmp_path: Path, arguments: list[str], error: str
) -> None:
    """The error is the same, on one line."""
    alone = on("vgpu-pf").run("hostdev", *arguments, status=1)
    with running(tmp_path, host_file("vgpu-pf")):
        asked = Ctl(["--socket", str(tmp_path / "nodedevd.sock")]).run(
            "hostdev", *arguments, status=1
        )
    assert alone.stdout == asked.stdout == ""
    assert alone.stderr == asked.stderr
    assert alone.stderr.startswith(error)
    assert alone.stderr.count("\n") == 1


def test_profile_that_was_set_a_moment_ago_is_known_to_the_daemon(tmp_path: Path) -> None:
    """No event reports it; the daemon reads it again on request."""
    host = tmp_path / "host"
    unpacked("vgpu-vendor-vfio", host)
    with running(tmp_path, host, "--count-age", "0"):
        ctl = Ctl(["--socket", str(tmp_path / "nodedevd.sock")])
        assert "1145 for NVIDIA L40S-1B" in ctl.run("hostdev", "26:00.7", status=1).stderr
        profile = host / "sys/bus/pci/devices/0000:26:00.7/nvidia/current_vgpu_type"
        profile.write_text("1148\n")
        assert ctl.out("hostdev", "26:00.7").startswith("<hostdev mode='subsystem' type='pci' ma")
        profile.write_text("0\n")
        ctl.run("hostdev", "26:00.7", status=1)
