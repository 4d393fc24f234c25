"""nodedevctl hostdev: its output and its errors."""

from __future__ import annotations

import msgspec
import pytest

from nodedevd.questions.hostdev.request import HostDev
from tests.support.ctl import Ctl, on

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
